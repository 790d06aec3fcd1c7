"""Google Research - Identify Contrails: condensation trails in satellite images, by global Dice.

An image is a folder of nine infrared bands, each float32 (256, 256, 8), eight times ten minutes
apart; the labelled one is the fifth. It is shown in the "ash" colours in which the organiser's
labellers saw it: differences of brightness temperature between bands. The truth of a training image
is `human_pixel_masks.npy` in its folder.

Source: https://www.kaggle.com/competitions/google-research-identify-contrails-reduce-global-warming,
its pages Evaluation ("the global Dice coefficient", "Empty predictions must be marked with '-'",
"from top to bottom, then left to right") and Data; the colours: Kulik, "Satellite-based detection
of contrails using deep learning", MIT 2019, and the organiser's own notebook. The winning score:
https://github.com/rachiki/Finding-A-Great-ML-Job.
"""

from pathlib import Path

import numpy as np

from pipeline.config.competitions import Competition, Image, Rle, TableForm

LABELLED_TIME, TIMES = 4, 8
MASK = "human_pixel_masks.npy"
# Kelvin that are black and full colour.
RED = (-4.0, 2.0)  # band 15 - band 14
GREEN = (-4.0, 5.0)  # band 14 - band 11
BLUE = (243.0, 303.0)  # band 14
FORM = TableForm(("record_id", "encoded_pixels"), image="record_id", pixels="encoded_pixels")


def read_ash(path: Path) -> Image:
    """Show an image in ash colours.

    Args:
        path: Of its band 14; bands 11 and 15 lie beside it.

    Returns:
        uint8 (h, w, 3).

    Raises:
        OSError: A band is missing.
        ValueError: A file is no array, or has another shape or kind than expected.
    """
    cool, mid, warm = (_band(path.with_name(f"band_{band}.npy")) for band in (11, 14, 15))
    planes = ((warm - mid, RED), (mid - cool, GREEN), (mid, BLUE))
    shown = [(values - low) / (high - low) for values, (low, high) in planes]
    image: Image = np.rint(255 * np.stack(shown, axis=-1).clip(0, 1)).astype(np.uint8)
    return image


def _band(path: Path) -> np.ndarray:
    values = np.load(path, allow_pickle=False)
    if values.ndim != 3 or values.shape[2] != TIMES or values.dtype.kind != "f":
        raise ValueError(
            f"{path.name}: expected decimal numbers in (height, width, {TIMES}), got "
            f"{values.dtype} in {values.shape}"
        )
    now: np.ndarray = values[..., LABELLED_TIME].astype(np.float32)
    if not np.isfinite(now).all():
        raise ValueError(f"{path.name}: expected numbers, got some that are infinite or none")
    return now


def read_truth(path: Path) -> str:
    """Return the mask in an image's folder as the submission would have it.

    Raises:
        DataError: It is missing or is none.
    """
    from pipeline.errors import DataError
    from pipeline.masks.rle import encode_mask

    try:
        mask_hw = np.load(path / MASK, allow_pickle=False)[..., 0]
        shape = np.load(path / "band_14.npy", mmap_mode="r").shape[:2]
        if mask_hw.shape != shape or not np.isin(mask_hw, (0, 1)).all():
            raise ValueError(f"got {mask_hw.dtype} in {mask_hw.shape}, of an image of {shape}")
        return encode_mask(mask_hw.astype(np.uint8))
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{MASK}: expected zeros and ones in (height, width, 1): {error}"
        ) from error


def write_image(path: Path, image_hwc: Image, mask_hw: Image | None) -> None:
    """Write bands that `read_ash` shows as the image, and its mask where it is known."""
    path.mkdir(parents=True)
    red, green, blue = (
        low + (high - low) / 255 * image_hwc[..., channel].astype(np.float32)
        for channel, (low, high) in enumerate((RED, GREEN, BLUE))
    )
    for band, values in {11: blue - green, 14: blue, 15: blue + red}.items():
        np.save(path / f"band_{band}.npy", np.repeat(values[..., None], TIMES, axis=2))
    if mask_hw is not None:
        np.save(path / MASK, mask_hw[..., None].astype(np.int32))


COMPETITION = Competition(
    name="contrails",
    title="Google Research - Identify Contrails to Reduce Global Warming",
    source=(
        "https://www.kaggle.com/competitions/google-research-identify-contrails-reduce-global-warming"
        "/overview/evaluation"
    ),
    slug="google-research-identify-contrails-reduce-global-warming",
    train_images="train",
    test_images="test",
    truth="train_metadata.json",
    sample="sample_submission.csv",
    truth_forms=(FORM,),
    sample_forms=(FORM,),
    rle=Rle(empty="-"),
    classes=("contrail",),
    objects=False,
    metric="global_dice",
    object_name=("contrail", "contrails"),
    endings={"/band_14.npy": read_ash},
    marks={"1st": 0.724},
    read_truth=read_truth,
    write_image=write_image,
)
