"""SIIM-ACR Pneumothorax Segmentation: collapsed lungs in chest radiographs, by mean Dice.

A mask is relative: each start is counted from the end of the run before. An image may have several
rows, which one submitted mask unites. The original table has a blank before the name of its second
column and before its masks. Images are DICOM in nested folders, or the PNG files of 1024 x 1024 px
that people make of them, which lie in the same folders here.

Source: https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation, its pages Evaluation
and Data ("pixel locations are measured from the end of the previous run", "Images without
pneumothorax have a mask value of -1").
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.competitions import Competition, Image, Rle, StandIn, TableForm
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pydicom import Dataset

WINDOW = ("WindowCenter", "WindowWidth")
FORM = TableForm(("ImageId", "EncodedPixels"), image="ImageId", pixels="EncodedPixels")


def read_dicom(path: Path) -> Image:
    """Read a grey DICOM image in 8 bits.

    The stored values are rescaled (slope, intercept), then the first window makes grey levels of
    them; without one, the lowest and the highest value that can be stored are black and white, so
    that 8 bits stay what they are. MONOCHROME1 is inverted.

    Returns:
        uint8 (h, w, 3).

    Raises:
        ConfigError: pydicom is not installed.
        ValueError: It is no single grey image, or its grey levels are given by a table.
        InvalidDicomError: It is no DICOM file.

    Source: DICOM PS3.3, C.11.1 (rescale) and C.11.2.1.2.1 (linear window).
    """
    try:
        import pydicom
    except ImportError:
        raise ConfigError(
            f"{path}: pydicom, which reads DICOM, is not installed. Install it with "
            '`pip install --constraint requirements.lock ".[dicom]"`, or put PNG files there.'
        ) from None
    data = pydicom.dcmread(path)
    if data.get("NumberOfFrames", 1) != 1 or data.SamplesPerPixel != 1:
        raise ValueError("expected one grey image, got several or colours")
    if (function := data.get("VOILUTFunction", "LINEAR")) != "LINEAR":
        raise ValueError(f"expected a linear window, got {function}")
    if tables := [name for name in ("ModalityLUTSequence", "VOILUTSequence") if name in data]:
        raise ValueError(f"expected a slope and a window, got {tables[0]}")
    slope = float(data.get("RescaleSlope", 1))
    values_hw = data.pixel_array * slope + float(data.get("RescaleIntercept", 0))
    black, white = _window(data)
    if black >= white:
        raise ValueError(f"expected a window wider than 1, got one from {black} to {white}")
    grey_hw = np.rint(255 * ((values_hw - black) / (white - black)).clip(0, 1))
    if data.PhotometricInterpretation == "MONOCHROME1":
        grey_hw = 255 - grey_hw
    return np.repeat(grey_hw.astype(np.uint8)[..., None], 3, axis=2)


def _window(data: "Dataset") -> tuple[float, float]:
    """Return the rescaled values that are black and white."""
    if "WindowCenter" in data:
        centre, width = (np.atleast_1d(data[name].value)[0] for name in WINDOW)
        low = float(centre) - 0.5 - (float(width) - 1) / 2
        return low, low + float(width) - 1
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    bits = int(data.BitsStored)
    first = -(2 ** (bits - 1)) if data.PixelRepresentation else 0
    return first * slope + intercept, (first + 2**bits - 1) * slope + intercept


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
    endings={".png": None, ".dcm": read_dicom},
    nested=True,
    unites=True,
)
