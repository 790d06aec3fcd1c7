"""COCO's JSON, written and read: the pixels stay, and pycocotools finds the same ones."""

import json
import re

import numpy as np
import pytest
from drawn import image, masks, pixels, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as cocomask
from pycocotools.coco import COCO

from pipeline.annotations import coco
from pipeline.annotations.annotation import Source
from pipeline.annotations.coco_rle import compress, decompress, from_counts, to_counts
from pipeline.errors import DataError
from pipeline.masks.rle import encode_mask, parse_runs

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coco")


@pytest.fixture(scope="module")
def images(folder):
    return sample(folder / "images", ["ship", "täg"])


def read(path, **options):
    rejected = []
    found = list(coco.read(Source(path, **options), rejected))
    return found, rejected


@pytest.mark.parametrize("polygons", [False, True])
def test_masks_and_polygons_keep_every_pixel_and_pycocotools_agrees(
    folder, images, polygons, caplog, capsys
):
    caplog.set_level("INFO")
    coco.write(folder, images, root=folder / "images", classes=["ship", "täg"], polygons=polygons)
    found, rejected = read(folder / "annotations.json")
    assert rejected == []
    assert pixels(found) == pixels(images)
    theirs = COCO(str(folder / "annotations.json"))
    texts = [(each, text) for each in images for _, text in each.objects]
    for (each, text), entry in zip(texts, theirs.dataset["annotations"], strict=True):
        size = each.height * each.width
        counts = compress(to_counts(parse_runs(text, each.height, each.width), size))
        assert theirs.annToRLE(entry)["counts"] in (counts, counts.encode())
    kinds = [type(entry["segmentation"]) for entry in theirs.dataset["annotations"]]
    assert kinds.count(dict) == (6 if polygons else 209)
    assert ("6 of 209 objects have holes" in caplog.text) == polygons
    for entry in theirs.dataset["annotations"][::50]:
        rle = theirs.annToRLE(entry)
        assert entry["area"] == cocomask.area(rle)
        assert entry["bbox"] == cocomask.toBbox(rle).tolist()


@settings(deadline=None, max_examples=300)
@given(masks)
def test_polygons_of_any_mask_without_holes_are_pycocotools_too(mask_hw):
    parts = coco._polygons(encode_mask(mask_hw), *mask_hw.shape) if mask_hw.any() else []
    if parts:
        merged = cocomask.merge(cocomask.frPyObjects(parts, *mask_hw.shape))
        runs = parse_runs(encode_mask(mask_hw), *mask_hw.shape)
        assert merged["counts"].decode() == compress(to_counts(runs, mask_hw.size))


@given(masks)
def test_compressed_counts_are_pycocotools(mask_hw):
    runs = parse_runs(encode_mask(mask_hw), *mask_hw.shape)
    counts = to_counts(runs, mask_hw.size)
    letters = compress(counts)
    assert letters == cocomask.encode(np.asfortranarray(mask_hw))["counts"].decode()
    np.testing.assert_array_equal(decompress(letters), counts)
    np.testing.assert_array_equal(from_counts(letters, mask_hw.size), runs)


@given(st.lists(st.integers(0, 2**40), min_size=1))
def test_large_counts_come_back(counts):
    assert decompress(compress(np.array(counts))).tolist() == counts


def test_what_cannot_be_taken_is_listed_and_the_rest_is_read(tmp_path):
    path = image(tmp_path, "a.png", 10, 20)
    turned = image(tmp_path, "turned.png", 20, 10)
    (tmp_path / "text.png").write_text("no image")
    square = [[2, 3, 6, 3, 6, 8, 2, 8]]
    good = [
        {"segmentation": square},
        {"segmentation": [*square, [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]]},
        {"segmentation": {"size": [10, 20], "counts": [3, 4, 193]}},
    ]
    bad = [
        ({"segmentation": [[1, 1, 5, 5]]}, "3 points or more, got 2"),
        ({"segmentation": [*square, [1, 1, 5]]}, "pairs x y, got 3 numbers"),
        ({"segmentation": []}, "expected a segmentation"),
        ({}, "expected a segmentation"),
        ({"segmentation": [["a"]]}, "expected pairs of numbers"),
        ({"segmentation": [[1, 1, 5, float("nan"), 3, 3]]}, "far off or none"),
        ({"segmentation": [[30, 1, 35, 1, 33, 3]]}, "centre of no pixel"),
        ({"segmentation": {"size": [20, 10], "counts": [200]}}, r"of size \[10, 20\], its image's"),
        ({"segmentation": {"counts": [200]}}, "got None"),
        ({"segmentation": {"size": [10, 20], "counts": [3, 4]}}, "200 pixels in all, got 7"),
        ({"segmentation": {"size": [10, 20], "counts": "`"}}, "something else"),
        ({"segmentation": {"size": [10, 20], "counts": [200]}}, "centre of no pixel"),
        ({"segmentation": square, "category_id": 9}, "category_id 9, of which"),
        ({"segmentation": square, "iscrowd": 1}, "iscrowd"),
        ({"segmentation": square, "image_id": 77}, "image_id 77, of which"),
    ]
    annotations = [
        {"id": at, "image_id": 5, "category_id": 1} | entry
        for at, entry in enumerate([*good, *(entry for entry, _ in bad)])
    ]
    table = {
        "info": {"images": "none"},
        "annotations": annotations,
        "images": [
            {"id": 5, "file_name": "a.png"},
            {"id": 6, "file_name": "gone.png", "height": 10, "width": 20},
            {"id": 7, "file_name": turned.name, "height": 10, "width": 20},
            {"id": 5, "file_name": "again.png"},
            {"id": 8, "file_name": "text.png"},
            {"id": 9, "file_name": str(tmp_path / "elsewhere" / "a.png")},
        ],
        "categories": [{"id": 1, "name": "ship"}, {"id": 1, "name": "boat"}, {"id": 3}],
    }
    (tmp_path / "x.json").write_text(json.dumps(table))
    found, rejected = read(tmp_path / "x.json")
    first = "24 5 34 5 44 5 54 5"
    assert pixels(found) == [
        (path, 10, 20, [("ship", first), ("ship", f"1 1 {first}"), ("ship", "4 4")]),
        (path, 10, 20, []),
    ]
    of = {entry.item: entry.reason for entry in rejected}
    for at, (_, reason) in enumerate(bad, start=len(good)):
        assert re.search(reason, of[f"annotation {at}"])
    others = [entry for entry in rejected if not entry.item.startswith("annotation ")]
    assert [entry.item.split(", ")[1] for entry in others if entry.item.startswith("image ")] == [
        "gone.png",
        "turned.png",
        "text.png",
    ]
    assert len(others) == 6
    crowd = read(tmp_path / "x.json", crowds=True)[0][0]
    assert len(crowd.objects) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "at byte 0: expected '{', got '\\['"),
        ('{"images": [{}', "at byte 14: expected ',', got ''"),
        ('{"images": [{"a": 1}, {"b"', "at byte 22"),
        ('{"shapes": [1]}', "images and annotations, got shapes"),
        ("<xml>", "at byte 0"),
        ('{"images": ' + "[" * 10**5, "at byte 12"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.json")
