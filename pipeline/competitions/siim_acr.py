"""SIIM-ACR Pneumothorax Segmentation: collapsed lungs in chest radiographs, by mean Dice.

A mask is relative: each start is counted from the end of the run before. An image may have several
rows, which one submitted mask unites. The original table has a blank before the name of its second
column and before its masks. Images are DICOM in nested folders, or the PNG files of 1024 x 1024 px
that people make of them, which lie in the same folders here.

Source: https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation, its pages Evaluation
and Data ("pixel locations are measured from the end of the previous run", "Images without
pneumothorax have a mask value of -1").
"""

from pipeline.config.competitions import Competition, Rle, StandIn, TableForm

FORM = TableForm(("ImageId", "EncodedPixels"), image="ImageId", pixels="EncodedPixels")

COMPETITION = Competition(
    name="siim_acr",
    title="SIIM-ACR Pneumothorax Segmentation",
    source="https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation/overview/evaluation",
    slug="siim-acr-pneumothorax-segmentation",
    train_images="dicom-images-train",
    test_images="dicom-images-test",
    truth="train-rle.csv",
    sample="sample_submission.csv",
    truth_forms=(FORM,),
    sample_forms=(FORM,),
    rle=Rle(first=0, relative=True, empty="-1"),
    classes=("pneumothorax",),
    objects=False,
    metric="dice",
    object_name=("pneumothorax", "pneumothoraces"),
    stand_in=StandIn((1024, 1024)),
    endings={".png": None},
    nested=True,
)
