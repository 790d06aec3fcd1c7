"""Image files as people have them: read right, or refused with a reason that is the file's own."""

import errno
import io
import os
import re
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.config.reading import Reading
from pipeline.data import decoding
from pipeline.data.decoding import UnusableImageError
from pipeline.data.images import (
    list_images,
    name_defect,
    read_image,
    read_luminance,
    read_picture,
    shown,
)
from pipeline.errors import DataError

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 45, 70
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
RGB_HWC = cv2.normalize(cv2.GaussianBlur(NOISE, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
RGB = Image.fromarray(RGB_HWC)
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def saved(image, kind, **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def by_opencv(ending, pixels):
    return cv2.imencode(ending, pixels)[1].tobytes()


def turned(kind, orientation, **how):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, kind, exif=exif, **how)


def chunk(kind, content):
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def with_chunk(png, kind, content):
    """Put a chunk behind the header of a PNG file."""
    return png[:33] + chunk(kind, content) + png[33:]


def grey_png(bits):
    """Write all grey values of so many bits, the darkest first, as a row of a PNG file."""
    values = "".join(f"{value:0{bits}b}" for value in range(2**bits))
    header = struct.pack(">IIBBBBB", 2**bits, 1, bits, 0, 0, 0, 0)
    row = b"\0" + int(values.ljust(8, "0"), 2).to_bytes(max(len(values) // 8, 1), "big")
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def bmp_of_32_bits():
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 32, 0, 16, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + header + bytes(16)


PNG = saved(RGB, "PNG")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
PALETTE = RGB.quantize(16)
TAKEN = {
    "jpeg": saved(RGB, "JPEG"),
    "jpeg, full colour": saved(RGB, "JPEG", subsampling=0, quality=95),
    "jpeg, progressive": saved(RGB, "JPEG", progressive=True),
    "jpeg, grey": saved(RGB.convert("L"), "JPEG"),
    "jpeg, stored as RGB": saved(RGB, "JPEG", keep_rgb=True),
    "jpeg, XMP turns it": saved(RGB, "JPEG", xmp=XMP),
    "jpeg, fill bytes": b"\xff\xd8\xff" + turned("JPEG", 6)[2:],
    "mpo": saved(RGB, "MPO", save_all=True, append_images=[Image.new("RGB", RGB.size)]),
    "png": PNG,
    "png, palette": saved(PALETTE, "PNG", bits=4),
    "png, opaque alpha": saved(RGB.convert("RGBA"), "PNG"),
    "png, opaque palette": saved(PALETTE, "PNG", transparency=b"\xff" * 16),
    "png, colour key not in use": saved(Image.new("RGB", (9, 9)), "PNG", transparency=(1, 2, 3)),
    "png, fewer bits in use": with_chunk(PNG, b"sBIT", b"\5\5\5"),
    "png, gamma": with_chunk(PNG, b"gAMA", struct.pack(">I", 200_000)),
    "png, text": with_chunk(PNG, b"tEXt", b"Software\0x"),
    **{f"png, grey of {bits} bits": grey_png(bits) for bits in (1, 2, 4, 8)},
    "tiff": saved(RGB, "TIFF"),
    "tiff, lzw": saved(RGB, "TIFF", compression="tiff_lzw"),
    "tiff, palette": saved(PALETTE, "TIFF"),
    "tiff, opaque alpha": saved(RGB.convert("RGBA"), "TIFF"),
    "tiff, 1 bit": saved(RGB.convert("1"), "TIFF"),
    "bmp": saved(RGB, "BMP"),
    "bmp, palette": saved(PALETTE, "BMP"),
    "webp": saved(RGB, "WEBP", lossless=True),
    **{
        f"{kind.lower()}, EXIF {orientation}": turned(kind, orientation)
        for kind in ("JPEG", "PNG", "TIFF", "WEBP")
        for orientation in (*TURNS, 9)
    },
}
REFUSED = {
    "png, 16 bits": (
        by_opencv(".png", RGB_HWC.astype(np.uint16) * 257),
        r"8 bits a channel, got 16, with values from 0 to 65535: set data\.reading\.range to",
    ),
    "png, grey of 16 bits": (saved(Image.new("I;16", (7, 5)), "PNG"), "got 16, .* from 0 to 0"),
    "png, 16 bits and a chunk before the header": (
        PNG[:8] + chunk(b"tEXt", b"a\0b") + by_opencv(".png", RGB_HWC.astype(np.uint16))[8:],
        "OpenCV cannot read its values",
    ),
    "tiff, 16 bits": (by_opencv(".tif", RGB_HWC.astype(np.uint16) * 257), "got 16, .* 0 to 65535"),
    "tiff, float": (saved(RGB.convert("F"), "TIFF"), "8 bits a channel, got 32, with values from"),
    "tiff, NaN": (saved(Image.new("F", (7, 5), np.nan), "TIFF"), "expected finite values"),
    "tiff, whole numbers of 32 bits": (saved(Image.new("I", (7, 5)), "TIFF"), "got 32 bits of fo"),
    "tiff, black as the highest": (
        saved(Image.new("I;16", (7, 5)), "TIFF", tiffinfo={262: 0}),
        "of 8 bits, got 16 bits of format 1",
    ),
    "tiff, signed": (
        saved(RGB, "TIFF", tiffinfo={339: (2, 2, 2)}),
        "8 bits of format 2|known kind",
    ),
    "tiff, blue, green, red, near infrared": (
        by_opencv(".tif", np.dstack([RGB_HWC, RGB_HWC[..., :1]])),
        "expected 3 channels, or one more for transparency, got 4",
    ),
    "tiff, planes": (saved(RGB, "TIFF", tiffinfo={284: 2}), "side by side, got a plane for each"),
    "tiff, CMYK": (saved(RGB.convert("CMYK"), "TIFF"), "got photometric interpretation 5"),
    "tiff, YCbCr": (saved(RGB.convert("YCbCr"), "TIFF"), "got photometric interpretation 6"),
    "tiff, LAB": (saved(Image.new("LAB", (7, 5)), "TIFF"), "got photometric interpretation 8"),
    "tiff, pages": (saved(RGB, "TIFF", save_all=True, append_images=[RGB]), "one picture, got 2"),
    "tiff, transparent": (saved(Image.new("RGBA", (7, 5)), "TIFF"), "a fourth channel in use"),
    "jpeg, CMYK": (saved(RGB.convert("CMYK"), "JPEG"), "got CMYK"),
    "jpeg, cut": (TAKEN["jpeg"][:-300], "not decodable: .*truncated"),
    "png, cut": (PNG[: len(PNG) // 2], "not decodable: .*truncated"),
    "png, transparent": (saved(Image.new("RGBA", (7, 5)), "PNG"), "in use: set data.reading.alpha"),
    "png, a colour of the palette": (
        saved(PALETTE, "PNG", transparency=3),
        "fourth channel in use",
    ),
    "png, frames": (
        saved(RGB, "PNG", save_all=True, append_images=[Image.new("RGB", RGB.size)]),
        "expected one picture, got 2",
    ),
    "webp, frames": (
        saved(RGB, "WEBP", save_all=True, append_images=[Image.new("RGB", RGB.size)]),
        "expected one picture, got 2",
    ),
    "webp, transparent": (saved(Image.new("RGBA", (7, 5)), "WEBP"), "a fourth channel in use"),
    "bmp, a fourth channel": (bmp_of_32_bits(), "a fourth channel of unknown meaning"),
    **{
        kind: (saved(RGB.resize((32, 32)), kind), "not decodable: .* that are no BMP")
        for kind in ("GIF", "TGA", "DDS", "ICO", "JPEG2000", "PPM")
    },
    "empty": (b"", "not decodable: 0 bytes that are no BMP, JPEG, PNG, TIFF, WEBP"),
    "text": (b"no picture", "not decodable: 10 bytes"),
}


def file_with(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    return tmp_path / "a.jpg"


@pytest.mark.parametrize("kind", TAKEN)
def test_both_readers_give_the_same_pixels(tmp_path, kind):
    path = file_with(tmp_path, TAKEN[kind])
    picture_hwc = read_picture(path)
    assert picture_hwc.dtype == np.uint8
    height, width, channels = picture_hwc.shape
    assert channels == 3
    np.testing.assert_array_equal(read_image(path, height, width), picture_hwc)
    gray_hw, content = read_luminance(path)
    assert content == TAKEN[kind]
    assert np.abs(cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2GRAY) - gray_hw.astype(int)).max() <= 2


@pytest.mark.parametrize("kind", ["png", "png, gamma", "tiff, lzw", "bmp", "webp", "tiff"])
def test_what_loses_nothing_comes_back_as_it_was(tmp_path, kind):
    np.testing.assert_array_equal(read_picture(file_with(tmp_path, TAKEN[kind])), RGB_HWC)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_stand_upright(tmp_path, kind, orientation):
    how = {"lossless": True} if kind == "WEBP" else {}
    upright_hwc = read_picture(file_with(tmp_path, turned(kind, orientation, **how)))
    expected_hwc = TURNS[orientation](RGB_HWC).astype(int)
    assert upright_hwc.shape == expected_hwc.shape
    assert np.abs(upright_hwc - expected_hwc).mean() <= (8 if kind == "JPEG" else 0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_goes_from_black_to_white(tmp_path, bits):
    row = read_picture(file_with(tmp_path, grey_png(bits)))[0]
    np.testing.assert_array_equal(row[:, 0], np.linspace(0, 255, 2**bits).astype(np.uint8))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_wrong_is_refused_with_the_reason(tmp_path, kind):
    content, reason = REFUSED[kind]
    with pytest.raises(UnusableImageError, match=reason):
        read_picture(file_with(tmp_path, content))


def read_alike(path, reading):
    """Read with all three readers, and compare."""
    picture_hwc = read_picture(path, reading)
    assert picture_hwc.dtype == np.uint8
    np.testing.assert_array_equal(read_image(path, *picture_hwc.shape[:2], reading), picture_hwc)
    gray_hw = cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(read_luminance(path, reading)[0], gray_hw)
    return picture_hwc


@pytest.mark.parametrize("limits", [(0, 65535), (100, 4095), (0, 510), (-0.5, 70_000.25)])
def test_values_between_the_limits_become_0_to_255(tmp_path, limits):
    low, high = map(Fraction, limits)
    exact = [round(min(max((v - low) / (high - low), 0), 1) * 255) for v in range(2**16)]
    every_hw = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    reading = Reading(alpha="refuse", range=[*limits])
    for ending in (".png", ".tif"):
        picture_hwc = read_alike(file_with(tmp_path, by_opencv(ending, every_hw)), reading)
        assert picture_hwc.shape == (256, 256, 3)
        assert picture_hwc[..., 1].ravel().tolist() == exact
    np.testing.assert_array_equal(read_alike(file_with(tmp_path, PNG), reading), RGB_HWC)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_colours_of_16_bits_keep_their_places(tmp_path, ending):
    deep_hwc = RGB_HWC.astype(np.uint16) * 16 + 100
    path = file_with(tmp_path, by_opencv(ending, deep_hwc[..., ::-1]))
    reading = Reading(alpha="refuse", range=[100, 4180])
    np.testing.assert_array_equal(read_alike(path, reading), RGB_HWC)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_deep_pictures_stand_upright(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = Image.fromarray(RGB_HWC[..., 0].astype(np.uint16) * 16)
    path = file_with(tmp_path, saved(deep, kind, exif=exif))
    upright_hwc = read_alike(path, Reading(alpha="refuse", range=[0, 4080]))
    np.testing.assert_array_equal(upright_hwc[..., :1], TURNS[orientation](RGB_HWC[..., :1]))


def test_floats_and_signed_values_are_scaled_alike(tmp_path):
    values_hw = RGB_HWC[..., 0].astype(np.float32) / 2 - 50
    reading = Reading(alpha="refuse", range=[-50, 77.5])
    for content in (saved(Image.fromarray(values_hw), "TIFF"), by_opencv(".tif", values_hw)):
        picture_hwc = read_alike(file_with(tmp_path, content), reading)
        np.testing.assert_array_equal(picture_hwc[..., 2], RGB_HWC[..., 0])
    signed_hw = RGB_HWC[..., 0].astype(np.int16) * 100 - 9000
    path = file_with(tmp_path, by_opencv(".tif", signed_hw))
    picture_hwc = read_alike(path, Reading(alpha="refuse", range=[-9000, 16_500]))
    np.testing.assert_array_equal(picture_hwc[..., 0], RGB_HWC[..., 0])


COLOUR_HW, OPACITY_HW = np.mgrid[:256, :256].astype(np.uint8)
RGBA_HWC = np.dstack([COLOUR_HW, 255 - COLOUR_HW, COLOUR_HW // 2, OPACITY_HW])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_pixels_are_dropped_or_laid_over_a_colour(tmp_path, kind):
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    path = file_with(tmp_path, saved(Image.fromarray(RGBA_HWC), kind, **how))
    colours, opacity = RGBA_HWC[..., :3].astype(int), RGBA_HWC[..., 3:].astype(int)
    dropped_hwc = read_alike(path, Reading(alpha="drop", range=None))
    np.testing.assert_array_equal(dropped_hwc, colours)
    for background in ([0, 0, 0], [255, 255, 255], [3, 100, 200]):
        laid_hwc = read_alike(path, Reading(alpha=background, range=None))
        mixed = colours * opacity + np.array(background) * (255 - opacity)
        np.testing.assert_array_equal(laid_hwc, (2 * mixed + 255) // 510)


def test_a_deep_transparent_picture_is_scaled_and_then_laid_over(tmp_path):
    reading = Reading(alpha=[9, 99, 199], range=[0, 65535])
    path = file_with(tmp_path, saved(Image.fromarray(RGBA_HWC), "PNG"))
    shallow_hwc, deep_hwc = read_picture(path, reading), RGBA_HWC.astype(np.uint16) * 257
    path = file_with(tmp_path, by_opencv(".png", deep_hwc[..., [2, 1, 0, 3]]))
    np.testing.assert_array_equal(read_alike(path, reading), shallow_hwc)
    with pytest.raises(UnusableImageError, match="a fourth channel in use"):
        read_picture(path, Reading(alpha="refuse", range=[0, 65535]))


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "bmp", "webp"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_no_damage_raises_anything_else(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 10**6)
    random = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(TAKEN[kind])
        for at in random.integers(0, min(len(content), 400), random.integers(1, 6)):
            content[at] = random.integers(256)
        path = file_with(tmp_path, bytes(content))
        try:
            height, width, _ = read_picture(path).shape
        except UnusableImageError as error:
            with pytest.raises(UnusableImageError, match=f"^{re.escape(str(error))}$"):
                read_luminance(path)
            continue
        assert read_luminance(path)[0].shape == (height, width)
        assert read_image(path, height, width).dtype == np.uint8


@pytest.mark.parametrize(
    "error", [MemoryError(), struct.error("cut"), OverflowError(), KeyError(3)]
)
def test_whatever_a_decoder_raises_is_the_files_defect(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(decoding.Image, "open", fail)
    with pytest.raises(UnusableImageError, match=r"^not decodable: \w+"):
        read_picture(file_with(tmp_path, PNG))


def test_a_size_that_memory_cannot_hold_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = file_with(tmp_path, PNG)
    monkeypatch.setattr(decoding, "MAX_PIXELS", HEIGHT * WIDTH)
    assert read_picture(path).shape == (HEIGHT, WIDTH, 3)
    monkeypatch.setattr(decoding, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(decoding.Image.Image, "load", None)
    with pytest.raises(UnusableImageError, match=r"^70x45 px, of which memory holds 3149 at most$"):
        read_picture(path)


def test_a_file_that_memory_cannot_hold_is_not_read(tmp_path, monkeypatch):
    path = file_with(tmp_path, PNG)
    monkeypatch.setattr(decoding, "MAX_PIXELS", (len(PNG) - 1) // 4)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(UnusableImageError, match=f"^{len(PNG)} bytes, which memory cannot hold$"):
        read_picture(path)


def test_what_is_no_file_is_told(tmp_path):
    path = file_with(tmp_path, PNG)
    for missing in (tmp_path / "b.jpg", path / "x", tmp_path / ("x" * 300)):
        with pytest.raises(UnusableImageError, match=r"^missing$"):
            read_picture(missing)
    with pytest.raises(UnusableImageError, match="a folder or a device, not a file"):
        read_picture(tmp_path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.EIO])
def test_an_error_of_the_system_is_no_defect(tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    path = file_with(tmp_path, PNG)
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(
        DataError, match=f"cannot be read: {os.strerror(code)}.*run again"
    ) as raised:
        read_picture(path)
    assert not isinstance(raised.value, UnusableImageError)
    with pytest.raises(DataError, match=rf"a\.jpg: cannot be read: {os.strerror(code)}"):
        read_image(path, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        *(
            (good, "")
            for good in ("a.jpg", "a/b.jpg", "NA", "é ö", "...", "x" * 251, "a/" * 99 + "b")
        ),
        *(
            (bad, "not that of a file")
            for bad in ("", ".", "/a", "../a", "a/../b", "a//b", "a/", "./a")
        ),
        *((bad, "control characters") for bad in ("a\0.jpg", "a\n", "\x7f", "\x85", "\udcff.jpg")),
        ("x" * 252, "its name is 1 bytes too long"),
        ("a/" + "é" * 150 + "/b", "its name is 49 bytes too long"),
    ],
)
def test_a_name_of_a_file_is_told_from_others(name, defect):
    assert (defect in name_defect(name)) if defect else (name_defect(name) == "")
    assert shown(name).isprintable()


def test_the_images_of_a_folder_are_listed_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.webp", "._a.jpg", ".DS_Store", "notes.txt", "d.gif"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
    with pytest.raises(UnusableImageError, match="gone: missing"):
        list_images(tmp_path / "gone")
