"""Masks as pictures: read as the file holds them, in every layout, or refused with what to do."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from drawn import image
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pipeline.annotations.annotation import Source
from pipeline.annotations.png_reading import Meaning, read
from pipeline.errors import DataError
from pipeline.masks.rle import encode_labels, encode_mask

pytestmark = pytest.mark.unit
INSTANCES, BINARY = Meaning("instances"), Meaning("binary")
SHAPE = 5, 7
LABELS_HW = np.array(
    [[0, 1, 1, 0, 3, 3, 0], [0, 1, 0, 2, 3, 0, 0], *([[0] * 7] * 2), [2] + [0] * 6]
)
MASK_HW = (LABELS_HW > 0).astype(np.uint8)


def of_few_bits(path, values_hw, bits):
    """Write a grey PNG of 1, 2 or 4 bits, which no library at hand does."""
    height, width = values_hw.shape
    digits = (values_hw[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = b""
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    for name, content in ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        check = zlib.crc32(name + content)
        chunks += struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def save(path, values_hw, kind=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values_hw).astype(kind)).save(path)


def save_palette(path, values_hw, _=None):
    picture = Image.fromarray(values_hw.astype(np.uint8), "P")
    picture.putpalette(np.random.default_rng(0).integers(0, 255, 768).astype(np.uint8).tobytes())
    picture.save(path)


def read_all(folder, meaning=INSTANCES, images=None):
    """What is read by name, and what is not: file and reason, both without the folder."""
    rejected = []
    found = {i.path.name: i.objects for i in read(Source(folder, images), rejected, meaning)}
    assert all(each.advice for each in rejected)
    where = str(folder.parent) + "/"
    return found, [(r.where.replace(where, ""), r.reason.replace(where, "")) for r in rejected]


WAYS = {
    "8 bits": ("a.png", save),
    "16 bits": ("a.png", lambda path, v: save(path, v.astype(np.int32) * 257, np.uint16)),
    "palette": ("a.png", save_palette),
    "2 bits": ("a.png", lambda path, v: of_few_bits(path, v, 2)),
    "4 bits": ("a.png", lambda path, v: of_few_bits(path, v, 4)),
    "grey as RGB": ("a.png", lambda path, v: save(path, np.stack([v] * 3, axis=2))),
    "16 bits, TIFF": ("a.tif", lambda path, v: save(path, v * 300, np.uint16)),
    "32 bits, TIFF": ("a.tiff", lambda path, v: save(path, v * 70_000, np.int32)),
    "BMP": ("a.bmp", save),
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_are_read_as_the_file_holds_them(way, tmp_path):
    name, write = WAYS[way]
    image(tmp_path / "images", "a.jpg", *SHAPE)
    (tmp_path / "masks").mkdir()
    write(tmp_path / "masks" / name, LABELS_HW)
    expected = [("object", text) for text in encode_labels(LABELS_HW.astype(np.int32))]
    assert read_all(tmp_path) == ({"a.jpg": expected}, [])
    values = {"16 bits": 257, "16 bits, TIFF": 300, "32 bits, TIFF": 70_000}.get(way, 1)
    classes = Meaning("classes", {values: "roof", 2 * values: "", 3 * values: "road"})
    assert read_all(tmp_path, classes)[0] == {
        "a.jpg": [("roof", expected[0][1]), ("road", expected[2][1])]
    }
    found, rejected = read_all(tmp_path, BINARY)
    assert (found, len(rejected)) == ({}, 1)
    assert f"got values {values}, {2 * values}, {3 * values}" in rejected[0][1]


@given(
    arrays.arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6))),
    st.sampled_from(["instances", "binary"]),
)
def test_any_values_come_back(tmp_path_factory, values_hw, kind):
    folder = tmp_path_factory.mktemp("any")
    if kind == "binary":
        values_hw = (values_hw > 30_000) * np.uint16(255)
    image(folder / "images", "a.png", *values_hw.shape)
    save(folder / "masks" / "a.png", values_hw, np.uint16)
    found, rejected = read_all(folder, Meaning(kind))
    assert rejected == []
    if kind == "instances":
        wanted = [values_hw == value for value in np.unique(values_hw[values_hw > 0])]
    else:
        count, labels_hw = cv2.connectedComponents((values_hw > 0).astype(np.uint8))
        wanted = [labels_hw == label for label in range(1, count)]
    assert sorted(found["a.png"]) == sorted(
        ("object", encode_mask(own_hw.astype(np.uint8))) for own_hw in wanted
    )


LAYOUTS = {
    "folders": ("images/a.jpg", {"masks/a.png": [1, 3]}, INSTANCES),
    "folders, and a suffix": ("images/a.jpg", {"masks/a_mask.png": [1, 3]}, INSTANCES),
    "called as the image": ("images/a.jpg", {"masks/a.jpg.png": [1, 3]}, INSTANCES),
    "sub-folders": ("images/x/a.jpg", {"masks/x/a.png": [1, 3]}, INSTANCES),
    "a folder a class": (
        "images/a.jpg",
        {"masks/roof/a.png": [1], "masks/road/a.png": [3]},
        BINARY,
    ),
    "a folder an image": ("images/a.jpg", {"masks/a/0.png": [1], "masks/a/a.png": [3]}, BINARY),
    "all in a folder": ("a/images/a.jpg", {"a/masks/0.png": [1], "a/masks/1.png": [3]}, BINARY),
    "side by side": ("x/a.jpg", {"x/a_mask.png": [1, 3]}, INSTANCES),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    name, masks, meaning = LAYOUTS[layout]
    image(tmp_path, name, *SHAPE)
    image(tmp_path, name.replace("a/", "b/").replace("a.jpg", "b.jpg"), *SHAPE)
    for path, values in masks.items():
        save(tmp_path / path, np.where(np.isin(LABELS_HW, values), LABELS_HW, 0))
    found, rejected = read_all(tmp_path, meaning)
    one, other = (encode_mask((value == LABELS_HW).astype(np.uint8)) for value in (1, 3))
    names = ("roof", "road") if layout == "a folder a class" else ("object", "object")
    assert {*found} == {"a.jpg"}
    assert {*found["a.jpg"]} == {(names[0], one), (names[1], other)}
    assert [reason for _, reason in rejected] == ["no mask: nothing says that it shows no object"]


def test_the_masks_alone_may_be_named(tmp_path):
    image(tmp_path / "pictures", "a.jpg", *SHAPE)
    save(tmp_path / "labels" / "a.png", np.zeros(SHAPE))
    assert read_all(tmp_path / "labels", images=tmp_path / "pictures") == ({"a.jpg": []}, [])


def test_what_cannot_be_taken_is_told_and_the_rest_is_read(tmp_path):
    folder = tmp_path / "data"
    for name in "abcdefghijk":
        image(folder / "images", f"{name}.png", *SHAPE)
    image(folder / "images", "l.png", *SHAPE)
    image(folder / "images", "l.jpg", *SHAPE)
    masks = folder / "masks"
    save(masks / "a.png", MASK_HW)
    save(masks / "b.png", np.zeros((7, 5)))
    save(masks / "c.jpg", MASK_HW * 255)
    Image.fromarray(MASK_HW * 255).save(masks / "d.png", format="JPEG")
    save(masks / "e.png", np.stack([MASK_HW, MASK_HW, 0 * MASK_HW], axis=2))
    save(masks / "f.png", MASK_HW)
    save(masks / "f.tif", MASK_HW)
    save(masks / "g.tif", MASK_HW, np.float32)
    (masks / "h.png").write_bytes((masks / "a.png").read_bytes()[:50])
    Image.fromarray(MASK_HW).save(
        masks / "i.tif", save_all=True, append_images=[Image.fromarray(MASK_HW)]
    )
    save(masks / "j.png", np.arange(35).reshape(SHAPE))
    (folder / "images" / "k.png").write_text("no picture")
    save(masks / "k.png", MASK_HW)
    save(masks / "l.png", MASK_HW)
    save(masks / "m.png", MASK_HW)
    found, rejected = read_all(folder, BINARY)
    assert {*found} == {"a.png"}
    reasons = dict(rejected)
    expected = {
        "images/b.png": "masks/b.png: expected 7x5 px like the image, got 5x7",
        "images/c.png": "masks/c.jpg: a JPEG file: its compression changes values",
        "images/d.png": "masks/d.png: a JPEG file: its compression changes values",
        "images/e.png": "masks/e.png: expected one value a pixel, got colours",
        "images/f.png": "several masks of one image: data/masks/f.png, data/masks/f.tif",
        "images/g.png": "masks/g.tif: expected whole numbers without a sign, got F",
        "images/h.png": "masks/h.png: not decodable",
        "images/i.png": "masks/i.tif: expected one picture, got 2",
        "images/j.png": "masks/j.png: expected 0 and one other value, as of a binary mask, got "
        "values 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 22 more",
        "images/k.png": "expected an image",
        "images/l.jpg": "no mask",
        "images/l.png": "no mask",
        "masks/l.png": "it fits several images: data/images/l.jpg, data/images/l.png",
        "masks/m.png": "a mask without an image of its name",
    }
    assert {*reasons} == {f"data/{name}" for name in expected}
    for name, reason in expected.items():
        assert reason in reasons[f"data/{name}"]


def test_values_of_classes_are_named_or_refused(tmp_path):
    image(tmp_path / "images", "a.png", *SHAPE)
    save(tmp_path / "masks" / "a.png", LABELS_HW)
    _, ((_, reason),) = read_all(tmp_path, Meaning("classes", {1: "roof", 2: "road"}))
    assert "expected 0 and values that --classes names, got values 1, 2, 3" in reason


def test_a_folder_of_another_kind_is_refused(tmp_path):
    for place in (tmp_path, image(tmp_path, "a.png", *SHAPE)):
        with pytest.raises(DataError, match="expected images/ and masks/ with files of the same"):
            read_all(place)
