"""TGS Salt Identification Challenge: salt in seismic images of 101 x 101 px, grey.

One mask an image, by average precision over IoU 0.50 to 0.95. Ids have no ending. Kaggle packs the
folders on their own: `train.zip` and `test.zip` belong into folders of their names.

Source: https://www.kaggle.com/competitions/tgs-salt-identification-challenge, its pages Evaluation
("numbered from top to bottom, then left to right", "one-indexed") and Data.
"""

from pipeline.config.competitions import Competition, StandIn, TableForm

FORM = TableForm(("id", "rle_mask"), image="id", pixels="rle_mask")

COMPETITION = Competition(
    name="tgs_salt",
    title="TGS Salt Identification Challenge",
    source="https://www.kaggle.com/competitions/tgs-salt-identification-challenge/overview/evaluation",
    slug="tgs-salt-identification-challenge",
    train_images="train/images",
    test_images="test/images",
    truth="train.csv",
    sample="sample_submission.csv",
    truth_forms=(FORM,),
    sample_forms=(FORM,),
    classes=("salt",),
    objects=False,
    metric="mask_ap",
    object_name=("salt body", "salt bodies"),
    stand_in=StandIn((101, 101)),
    endings={".png": None},
)
