"""Airbus Ship Detection Challenge: ships in satellite images, by F2 over IoU 0.50 to 0.95.

Source: https://www.kaggle.com/competitions/airbus-ship-detection, its pages Data and Evaluation.
"""

from pipeline.config.competitions import Competition, TableForm

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
)
