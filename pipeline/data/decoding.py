"""A picture file's bytes -> its pixels, or what is wrong with them."""

import io
import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.config.reading import STRICT, Reading
from pipeline.errors import DataError

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # an MPO is a JPEG with more pictures behind it
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
IN_RGB: dict[int, Any] = {1: 0, 3: [2, 1, 0], 4: [2, 1, 0, 3]}  # of OpenCV's channels
DEEP_TIFF = {(16, 1), (16, 2), (32, 3)}  # bits and format of a channel
JPEG = b"\xff\xd8"
PLAIN_CHUNKS = frozenset(b"IHDR PLTE IDAT sRGB gAMA cHRM iCCP pHYs tIME bKGD sBIT".split())
PIXEL_BYTES = 16  # taken at most while a picture is read: Pillow's pixels, a converted copy, ours
MAX_PIXELS = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PIXEL_BYTES
# Pillow's own limit is far below a satellite's picture; MAX_PIXELS stands in its place.
Image.MAX_IMAGE_PIXELS = None

Picture = npt.NDArray[np.uint8]


class UnusableImageError(DataError):
    """A file that holds no picture as the pipeline takes it; the message is the reason alone."""


def decode(content: bytes, reading: Reading = STRICT) -> Picture:
    """Decode what `decode_strictly` has accepted, faster, to the same pixels."""
    image_hwc = _decode_fast(content, reading)
    return decode_strictly(content, reading) if image_hwc is None else image_hwc


def decode_strictly(
    content: bytes, reading: Reading = STRICT, *, luminance: bool = False
) -> Picture:
    """Decode a file to the last byte, as uint8 (height, width, 3) RGB, upright.

    Args:
        content: Its bytes.
        reading: What is done with transparent pixels and with more than 8 bits a channel.
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
            shown = _of_8_bits(image, content, reading.range) if _is_deep(image) else image
            shown.load()
            ImageOps.exif_transpose(shown, in_place=True)
            if shown.has_transparency_data:
                shown = _opaque(shown, reading.alpha)
            if luminance and shown.mode == "L":
                return np.array(shown)
            image_hwc = np.array(shown if shown.mode == "RGB" else shown.convert("RGB"))
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
    if image.mode not in MODES and not _is_deep(image):
        return f"expected RGB, grey or a palette of 8 bits a channel, got {image.mode}"
    if image.format == "BMP" and "X" in stored:
        return "expected 3 colours, got a fourth channel of unknown meaning"
    return ""


def _tiff_defect(image: TiffImageFile) -> str:
    tags = image.tag_v2
    bits, kinds = _tiff_numbers(image)
    photometric, samples = tags.get(262), tags.get(277, 1)
    colours = {0: 1, 1: 1, 2: 3, 3: 1}.get(photometric)  # type: ignore[arg-type]
    if colours is None:
        return f"expected RGB, grey or a palette, got photometric interpretation {photometric}"
    deep = _is_deep(image)
    if (max(bits) > 8 or kinds != {1}) and (not deep or photometric == 0):
        return f"expected whole numbers of 8 bits, got {max(bits)} bits of format {max(kinds)}"
    alpha = ((2,),) if deep else ((1,), (2,))  # in (1,) colours are multiplied by it
    if samples != colours and (samples != colours + 1 or tags.get(338) not in alpha):
        return f"expected {colours} channels, or one more for transparency, got {samples}"
    if samples > 1 and tags.get(284, 1) != 1:
        return "expected a pixel's channels side by side, got a plane for each"
    return ""


def _tiff_numbers(image: TiffImageFile) -> tuple[set[int], set[int]]:
    """Return bits and formats of its channels; 1 is unsigned, 2 signed, 3 floating point."""
    bits, kinds = (np.atleast_1d(image.tag_v2.get(tag, 1)) for tag in (258, 339))
    return {*bits.tolist()}, {*kinds.tolist()}


def _is_deep(image: ImageFile) -> bool:
    """Tell whether a file that is not yet decoded has values that Pillow would cut to 8 bits."""
    if isinstance(image, TiffImageFile):
        bits, kinds = _tiff_numbers(image)
        return len(bits) == len(kinds) == 1 and (*bits, *kinds) in DEEP_TIFF
    return image.format == "PNG" and ";16B" in str(image.tile)


def _of_8_bits(image: ImageFile, content: bytes, limits: list[float] | None) -> Image.Image:
    """Return a picture of more than 8 bits with its values between `limits` as 0 to 255.

    Raises:
        UnusableImageError: There are no limits, or a value is not a number.
    """
    # A TIFF file's own orientation OpenCV has followed, no other.
    turned = isinstance(image, TiffImageFile) and Exif.Orientation in image.tag_v2
    orientation = 1 if turned else image.getexif().get(Exif.Orientation, 1)
    image.load()  # to the last byte, which OpenCV does not promise
    values_hwc: npt.NDArray[Any] | None = cv2.imdecode(
        np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED
    )
    if values_hwc is None:
        raise UnusableImageError("not decodable: OpenCV cannot read its values")
    values_hwc = np.atleast_3d(values_hwc)
    colours_hwc, alpha_hwc = np.split(values_hwc, [3], axis=2)
    lowest, highest = colours_hwc.min(), colours_hwc.max()
    if not np.isfinite([lowest, highest]).all():
        raise UnusableImageError("expected finite values, got NaN or infinity among them")
    if limits is None:
        raise UnusableImageError(
            f"expected 8 bits a channel, got {8 * values_hwc.itemsize}, with values from {lowest} "
            f"to {highest}: set data.reading.range to those that are black and white in all images"
        )
    low, high = limits
    shown_hwc = np.empty_like(values_hwc, np.uint8)
    for values, shown in zip(colours_hwc, shown_hwc[..., :3], strict=True):
        shown[:] = np.rint(np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255))
    shown_hwc[..., 3:] = np.rint(alpha_hwc / 257)
    picture = Image.fromarray(shown_hwc[..., IN_RGB[shown_hwc.shape[2]]])
    picture.getexif()[Exif.Orientation] = orientation
    return picture


def _opaque(picture: Image.Image, alpha: str | list[int]) -> Image.Image:
    """Return a picture without transparency.

    Raises:
        UnusableImageError: There is some, and it is to be refused.
    """
    rgba = picture.convert("RGBA")
    opacity = rgba.getchannel("A")
    if isinstance(alpha, list):
        red, green, blue = alpha
        background = Image.new("RGB", rgba.size, (red, green, blue))
        background.paste(rgba, mask=opacity)  # rounds to the nearest
        return background
    if alpha == "refuse" and opacity.getextrema() != (255, 255):
        raise UnusableImageError(
            "expected 3 colours, got a fourth channel in use: set data.reading.alpha to drop, or "
            "to the colour of a background"
        )
    picture.info.pop("transparency", None)
    return picture


def _holds_luminance(image: ImageFile, content: bytes) -> bool:
    """Tell whether Pillow may leave out a JPEG's colours.

    Not where they are sampled at an odd ratio, which only who computes them refuses.
    """
    if not isinstance(image, JpegImageFile) or not _is_upright_jpeg(content):
        return False
    _, across, down, _ = zip(*image.layer, strict=True)
    pairs = [(rate, max(rates)) for rates in (across, down) for rate in rates]
    return all(rate and most % rate == 0 for rate, most in pairs)


def _decode_fast(content: bytes, reading: Reading) -> Picture | None:
    """Decode with OpenCV what it decodes to the pixels that Pillow gives; else return None."""
    try:
        if not (_is_upright_jpeg(content) or _is_plain_png(content, reading)):
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


def _is_plain_png(content: bytes, reading: Reading) -> bool:
    """Tell whether these are a PNG file's bytes without transparency, frames, EXIF and texts.

    Of 16 bits a channel OpenCV would keep 8, and it drops an alpha channel.
    """
    at = 8
    while (chunk := content[at + 4 : at + 8]) in PLAIN_CHUNKS:
        if chunk == b"IHDR":
            depth, colour_type = content[at + 16 : at + 18]
            if depth > 8 or (colour_type & 4 and isinstance(reading.alpha, list)):
                return False
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return content.startswith(b"\x89PNG\r\n\x1a\n") and chunk == b"IEND"
