"""A label map's file -> its values, as the file holds them, or what is wrong with it.

Of a palette the index counts, not the colour; of 16 bits all; few bits are not stretched to eight.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from pipeline.annotations.annotation import RefusalError
from pipeline.data.decoding import FORMATS

LOSSY = {"JPEG", "MPO", "WEBP", "jpeg", "tiff_jpeg", "webp"}  # formats, and TIFF's compressions
SAMPLE_FORMAT = 339  # TIFF's tag; 1: without sign
# What Pillow multiplies grey values of few bits by.
STRETCHED = {"L;2": 85, "L;4": 17}


def read_values(path: Path) -> np.ndarray:
    """Read a label map, uint8, uint16 or int32 (h, w).

    Raises:
        RefusalError: It is lossy, damaged, or holds colours.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check(image)
            raw = _stored(image)
            ImageOps.exif_transpose(image, in_place=True)
            values = np.asarray(image)
    except RefusalError:
        raise
    # Decoders raise anything, and all of it but the system's own errors is due to the file.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise RefusalError(f"not decodable: {said}", "Export the mask again.") from error
    if values.ndim == 3:
        opaque = not image.mode.endswith("A") or values[..., -1].min() == 255
        colours = values[..., :-1] if image.mode.endswith("A") else values
        if not opaque or (colours != colours[..., :1]).any():
            raise RefusalError(
                "expected one value a pixel, got colours",
                "Save the mask as a palette PNG, whose indices are the labels, or as grey.",
            )
        values = colours[..., 0]
    if values.dtype.kind == "i" and values.min() < 0:
        raise RefusalError(
            "expected values from 0 to 2147483647, got others", "Number the labels from 1."
        )
    if values.dtype in (bool, np.uint8):
        return np.ascontiguousarray(values.astype(np.uint8)) // STRETCHED.get(raw, 1)
    return values.astype(np.uint16 if values.dtype.kind == "u" else np.int32)


def _stored(image: ImageFile) -> str:
    """Return how Pillow calls the values in the file, such as `L;4`."""
    arguments = image.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _check(image: ImageFile) -> None:
    """Raise RefusalError for a file, not decoded yet, that cannot be read exactly."""
    lossy = LOSSY & {image.format, image.info.get("compression")}
    if lossy:
        raise RefusalError(
            f"a {lossy.pop().upper()} file: its compression changes values, most of all at edges, "
            "so that no label is exact",
            "Export the mask as PNG or TIFF again; to convert this file brings nothing back.",
        )
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise RefusalError(f"expected one picture, got {frames}", "Save each as its own file.")
    raw = _stored(image)
    numbers = image.mode in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
    colours = raw in ("RGB", "BGR", "RGBA", "LA")
    inverted = ";" in raw and raw.endswith("I")
    signed = raw == "L" and getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, (1,)) != (1,)
    if not (numbers or colours) or inverted or signed:
        raise RefusalError(
            f"expected whole numbers without a sign, got {image.mode} stored as {raw}",
            "Save the mask as grey PNG of 8 or 16 bits.",
        )
