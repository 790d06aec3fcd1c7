"""A picture file's bytes -> its pixels, or what is wrong with them."""

import io
import os

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.errors import DataError

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # an MPO is a JPEG with more pictures behind it
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
JPEG = b"\xff\xd8"
PLAIN_CHUNKS = frozenset(b"IHDR PLTE IDAT sRGB gAMA cHRM iCCP pHYs tIME bKGD sBIT".split())
PIXEL_BYTES = 16  # taken at most while a picture is read: Pillow's pixels, a converted copy, ours
MAX_PIXELS = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PIXEL_BYTES
# Pillow's own limit is far below a satellite's picture; MAX_PIXELS stands in its place.
Image.MAX_IMAGE_PIXELS = None

Picture = npt.NDArray[np.uint8]


class UnusableImageError(DataError):
    """A file that holds no picture as the pipeline takes it; the message is the reason alone."""


def decode(content: bytes) -> Picture:
    """Decode what `decode_strictly` has accepted, faster, to the same pixels."""
    image_hwc = _decode_fast(content)
    return decode_strictly(content) if image_hwc is None else image_hwc


def decode_strictly(content: bytes, *, luminance: bool = False) -> Picture:
    """Decode a file to the last byte, as uint8 (height, width, 3) RGB, upright.

    Args:
        content: Its bytes.
        luminance: Return uint8 (height, width) instead.

    Raises:
        UnusableImageError: It is damaged, or of another kind than `read_picture` takes.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            defect = _defect(image)
            if defect:
                raise UnusableImageError(defect)
            if luminance and _holds_luminance(image, content):
                image.draft("L", None)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data:
                if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
                    raise UnusableImageError("expected 3 colours, got a fourth channel in use")
                image.info.pop("transparency", None)
            if luminance and image.mode == "L":
                return np.array(image)
            image_hwc = np.array(image if image.mode == "RGB" else image.convert("RGB"))
            return cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY) if luminance else image_hwc
    except UnusableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnusableImageError(
            f"not decodable: {len(content)} bytes that are no {', '.join(FORMATS)} of a known kind"
        ) from error
    # Decoders raise anything, MemoryError too, and all of it is due to the bytes they were given.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError(f"not decodable: {said}") from error


def _defect(image: ImageFile) -> str:
    """Say what of a file that is not yet decoded Pillow would change or drop; "" if nothing."""
    frames = getattr(image, "n_frames", 1)
    if image.width * image.height > MAX_PIXELS:
        return f"{image.width}x{image.height} px, of which memory holds {MAX_PIXELS} at most"
    if frames > 1 and image.format != "MPO":
        return f"expected one picture, got {frames}"
    if isinstance(image, TiffImageFile):
        return _tiff_defect(image)
    stored = str(image.tile)  # as Pillow calls it: RGB;16B, BGRX
    if image.mode not in MODES or ";16B" in stored:
        bits = " of 16 bits" if ";16B" in stored else ""
        return f"expected RGB, grey or a palette of 8 bits a channel, got {image.mode}{bits}"
    if image.format == "BMP" and "X" in stored:
        return "expected 3 colours, got a fourth channel of unknown meaning"
    return ""


def _tiff_defect(image: TiffImageFile) -> str:
    tags = image.tag_v2
    bits, kinds = np.atleast_1d(tags.get(258, 1)), np.atleast_1d(tags.get(339, 1))
    photometric, samples = tags.get(262), tags.get(277, 1)
    colours = {0: 1, 1: 1, 2: 3, 3: 1}.get(photometric)  # type: ignore[arg-type]
    if colours is None:
        return f"expected RGB, grey or a palette, got photometric interpretation {photometric}"
    if bits.max() > 8 or (kinds != 1).any():
        return f"expected whole numbers of 8 bits, got {bits.max()} bits of format {kinds.max()}"
    if samples != colours and (samples != colours + 1 or tags.get(338) not in ((1,), (2,))):
        return f"expected {colours} channels, or one more for transparency, got {samples}"
    if samples > 1 and tags.get(284, 1) != 1:
        return "expected a pixel's channels side by side, got a plane for each"
    return ""


def _holds_luminance(image: ImageFile, content: bytes) -> bool:
    """Tell whether Pillow may leave out a JPEG's colours.

    Not where they are sampled at an odd ratio, which only who computes them refuses.
    """
    if not isinstance(image, JpegImageFile) or not _is_upright_jpeg(content):
        return False
    _, across, down, _ = zip(*image.layer, strict=True)
    pairs = [(rate, max(rates)) for rates in (across, down) for rate in rates]
    return all(rate and most % rate == 0 for rate, most in pairs)


def _decode_fast(content: bytes) -> Picture | None:
    """Decode with OpenCV what it decodes to the pixels that Pillow gives; else return None."""
    try:
        if not (_is_upright_jpeg(content) or _is_plain_png(content)):
            return None
        pixels = np.frombuffer(content, np.uint8)
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded: Picture | None = cv2.imdecode(pixels, flags)
        return decoded
    except Exception:  # the strict reader says what is wrong
        return None


def _is_upright_jpeg(content: bytes) -> bool:
    """Tell whether these are a JPEG file's bytes that neither EXIF nor XMP turns."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1] not in (0xDA, 0xE1, 0xFF):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content[at : at + 2] != b"\xff\xe1":
        return content.startswith(JPEG) and content[at : at + 2] == b"\xff\xda"
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.getexif().get(Exif.Orientation, 1) not in range(2, 9)


def _is_plain_png(content: bytes) -> bool:
    """Tell whether these are a PNG file's bytes without transparency, frames, EXIF and texts."""
    at = 8
    while (chunk := content[at + 4 : at + 8]) in PLAIN_CHUNKS:
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return content.startswith(b"\x89PNG\r\n\x1a\n") and chunk == b"IEND"
