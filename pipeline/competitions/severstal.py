"""Severstal: Steel Defect Detection: four kinds of defect on steel sheets, by mean Dice.

The files come in two forms. The original one joins image and class and has four rows an image; the
later one has a row only for what there is, and its sample has one row an image, with a class of 0,
which says nothing. A submission has the sample's form: in the later one an image without defects
keeps the sample's row with a blank mask.

Source: https://www.kaggle.com/competitions/severstal-steel-defect-detection, its pages Evaluation
("the mean of the Dice coefficients for each <ImageId, ClassId> pair", "1 when both X and Y are
empty") and Data. The winning score: https://github.com/khornlund/severstal-steel-defect-detection.
"""

from pipeline.config.competitions import Competition, StandIn, TableForm

JOINED = TableForm(
    ("ImageId_ClassId", "EncodedPixels"),
    image="ImageId_ClassId",
    pixels="EncodedPixels",
    joined=True,
)


def _later(*columns: str) -> TableForm:
    return TableForm(
        columns, image="ImageId", pixels="EncodedPixels", class_id="ClassId", sparse=True
    )


COMPETITION = Competition(
    name="severstal",
    title="Severstal: Steel Defect Detection",
    source="https://www.kaggle.com/competitions/severstal-steel-defect-detection/overview/evaluation",
    slug="severstal-steel-defect-detection",
    train_images="train_images",
    test_images="test_images",
    truth="train.csv",
    sample="sample_submission.csv",
    truth_forms=(JOINED, _later("ImageId", "ClassId", "EncodedPixels")),
    sample_forms=(JOINED, _later("ImageId", "EncodedPixels", "ClassId")),
    classes=("1", "2", "3", "4"),
    objects=False,
    metric="dice",
    object_name=("defect", "defects"),
    stand_in=StandIn((256, 1600), ".jpg"),
    marks={"1st": 0.90883},
)
