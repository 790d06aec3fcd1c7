"""Airbus Ship Detection Challenge: ships in satellite images, by F2 over IoU 0.50 to 0.95.

Source: https://www.kaggle.com/competitions/airbus-ship-detection, its pages Data and Evaluation.
"""

from pathlib import Path

from pipeline.config.competitions import Competition, TableForm


def render_demo(root: Path, **settings: float) -> None:
    """Render ships at sea, see `pipeline.data.demo.render_demo`."""
    from pipeline.data.demo import render_demo

    render_demo(root, **settings)  # type: ignore[arg-type]


FORM = TableForm(("ImageId", "EncodedPixels"), image="ImageId", pixels="EncodedPixels")

COMPETITION = Competition(
    name="airbus",
    title="Airbus Ship Detection Challenge",
    source="https://www.kaggle.com/competitions/airbus-ship-detection/overview/evaluation",
    slug="airbus-ship-detection",
    train_images="train_v2",
    test_images="test_v2",
    truth="train_ship_segmentations_v2.csv",
    sample="sample_submission_v2.csv",
    truth_forms=(FORM,),
    sample_forms=(FORM,),
    classes=("ship",),
    objects=True,
    metric="f2",
    object_name=("ship", "ships"),
    hidden_truth="hidden/test_ship_segmentations_v2.csv",
    marks={"all-empty file": 0.76566, "10th": 0.85178, "1st": 0.85448},
    render_demo=render_demo,
)
