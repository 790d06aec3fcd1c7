"""Sartorius - Cell Instance Segmentation: nerve cells of three kinds, one kind an image.

Objects, by average precision TP / (TP + FP + FN) over IoU 0.50 to 0.95; kinds are not submitted.
Masks are numbered along the rows. True cells may overlap ("the training labels are provided in full
(with overlapping portions included)"), predicted ones may not: a pixel of several cells is taken as
the smallest one's, which otherwise could lose all of its own. So it is in every score here; how the
organiser scores shared pixels is not said.

Source: https://www.kaggle.com/competitions/sartorius-cell-instance-segmentation, its pages
Evaluation and Data.
"""

from pipeline.config.competitions import Competition, Rle, StandIn, TableForm

TRUTH = TableForm(
    (
        *("id", "annotation", "width", "height", "cell_type", "plate_time", "sample_date"),
        *("sample_id", "elapsed_timedelta"),
    ),
    image="id",
    pixels="annotation",
    class_id="cell_type",
    sparse=True,
)

COMPETITION = Competition(
    name="sartorius",
    title="Sartorius - Cell Instance Segmentation",
    source="https://www.kaggle.com/competitions/sartorius-cell-instance-segmentation/overview/evaluation",
    slug="sartorius-cell-instance-segmentation",
    train_images="train",
    test_images="test",
    truth="train.csv",
    sample="sample_submission.csv",
    truth_forms=(TRUTH,),
    sample_forms=(TableForm(("id", "predicted"), image="id", pixels="predicted"),),
    rle=Rle(order="rows"),
    classes=("astro", "cort", "shsy5y"),
    objects=True,
    metric="pooled_ap",  # the submission tells no kind
    object_name=("cell", "cells"),
    stand_in=StandIn((520, 704), sizes=(0.02, 0.05), most=40, one_class=True),
    overlaps=True,
    endings={".png": None},
)
