"""Masks of one's own, no competition: pictures of any kind, and the pipeline's own tables.

Classes, objects and metric are the configuration's (`own_data`). The ids are file names with their
ending; the tables have a column `ClassId` where there are several classes.
"""

from pipeline.config.competitions import Competition, StandIn, TableForm

PLAIN = TableForm(("ImageId", "EncodedPixels"), image="ImageId", pixels="EncodedPixels")
WITH_CLASS = TableForm(
    ("ImageId", "ClassId", "EncodedPixels"),
    image="ImageId",
    pixels="EncodedPixels",
    class_id="ClassId",
)

COMPETITION = Competition(
    name="masks",
    title="Your own masks",
    source="docs/configuration.md",
    slug=None,
    train_images="images",
    test_images="test_images",
    truth="masks.csv",
    sample="sample_submission.csv",
    test_optional=True,
    truth_forms=(PLAIN, WITH_CLASS),
    sample_forms=(PLAIN, WITH_CLASS),
    classes=(),
    objects=True,
    sizes_differ=True,
    metric="ap",
    object_name=("object", "objects"),
    stand_in=StandIn(ending=".png", sizes=(0.04, 0.12), most=8),
)
