"""Understanding Clouds from Satellite Images: four patterns of clouds, by mean Dice.

Images have 1400 x 2100 px; submitted masks, and the hidden ones that they are compared with, a
quarter of that per side. How the organiser shrank his is not said: a pixel here is the pattern's
where at least half of its 16 are, which, unlike taking one of them, moves no outline.

Source: https://www.kaggle.com/competitions/understanding_cloud_organization, its pages Evaluation
("the predicted encodings should be against images that are scaled by 0.25 per side") and Data.
"""

from pipeline.config.competitions import Competition, StandIn, TableForm

FORM = TableForm(
    ("Image_Label", "EncodedPixels"), image="Image_Label", pixels="EncodedPixels", joined=True
)

COMPETITION = Competition(
    name="clouds",
    title="Understanding Clouds from Satellite Images",
    source="https://www.kaggle.com/competitions/understanding_cloud_organization/overview/evaluation",
    slug="understanding_cloud_organization",
    train_images="train_images",
    test_images="test_images",
    truth="train.csv",
    sample="sample_submission.csv",
    truth_forms=(FORM,),
    sample_forms=(FORM,),
    classes=("Fish", "Flower", "Gravel", "Sugar"),
    objects=False,
    metric="dice",
    object_name=("cloud pattern", "cloud patterns"),
    stand_in=StandIn((1400, 2100), ".jpg"),
    mask_shape=(350, 525),
)
