"""YOLO's labels: exact by centres of pixels, and all but exact as a trainer fills them."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from drawn import image, masks, pixels, sample
from hypothesis import assume, given, settings

from pipeline.annotations import yolo
from pipeline.annotations.annotation import Source
from pipeline.annotations.polygons import inside
from pipeline.errors import DataError
from pipeline.masks.rle import decode_mask, encode_mask, encode_runs

pytestmark = pytest.mark.unit


def read(path):
    rejected = []
    return list(yolo.read(Source(path), rejected)), rejected


def test_objects_come_back_exactly_and_trainers_lose_only_ways_between_parts(tmp_path, caplog):
    caplog.set_level("INFO")
    root = tmp_path / "own"
    images = sample(root)
    (out := tmp_path / "out").mkdir()
    yolo.write(out, images, root=root, classes=["ship"])
    found, rejected = read(out)
    assert rejected == []
    names = [each.path.relative_to(out / "images") for each in found]
    assert names == [each.path.relative_to(root) for each in images]
    assert [each[1:] for each in pixels(found)] == [each[1:] for each in pixels(images)]
    assert "13 objects have holes or several parts" in caplog.text
    for each in images:
        label = out / "labels" / each.path.relative_to(root).with_suffix(".txt")
        trained = yolo.as_trained(label, ["ship"], each.height, each.width)
        for (_, ours), (_, theirs) in zip(each.objects, trained, strict=True):
            if each is not images[-1]:
                assert ours == theirs
                continue
            one, other = (decode_mask(text, each.height, each.width) for text in (ours, theirs))
            assert (one <= other).all()
            assert other.sum() - one.sum() <= 8  # of up to 660 px


@settings(deadline=None)
@given(masks)
def test_a_row_holds_any_mask(mask_hw):
    text = encode_mask(mask_hw)
    assume(text)
    rings = yolo._inset_rings(text, *mask_hw.shape)
    assert encode_runs(inside([yolo._joined(rings)], *mask_hw.shape)) == text
    filled_hw = np.zeros_like(mask_hw)
    cv2.fillPoly(filled_hw, [np.floor(ring).astype(np.int32) for ring in rings], 1)
    np.testing.assert_array_equal(filled_hw, mask_hw)


def folder(tmp_path, **known):
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": ["ship", "boat"]} | known))
    return tmp_path / "data.yaml"


def test_splits_are_folders_or_lists_and_lie_where_trainers_look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "train/images/a.png",
        "train/images/deep/b.png",
        "more/c.png",
        "test/images/d.png",
    ):
        image(tmp_path, name, 10, 10)
    for name in ("train/labels/a.txt", "train/labels/deep/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1 0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4\n\n")
    (tmp_path / "more/c.txt").write_text("")
    (tmp_path / "more.txt").write_text("./more/c.png\n./more/gone.png\n")
    folder(tmp_path, train="../train/images", val=["more.txt", "none"], test="test/images")
    found, rejected = read(Path("data.yaml"))
    assert [each.path.name for each in found] == ["a.png", "b.png", "c.png"]
    assert found[0].objects == found[1].objects == [("boat", "23 2 33 2")]
    assert found[2].objects == []
    assert [(each.item, each.reason.split()[0]) for each in rejected] == [
        ("val", "no"),
        ("gone.png", "no"),
        ("test", "none"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.1 0.1 0.9 0.1", "a box, which is no mask"),
        ("2 0.1 0.1 0.9 0.1 0.9 0.9", "0, 1, got '2'"),
        ("ship 0.1 0.1 0.9 0.1 0.9 0.9", "0, 1, got 'ship'"),
        ("0 0.1 0.1 0.9 0.1 0.9", "3 points or more|pairs x y, got 5"),
        ("0 0.1 0.1", "3 points or more, got 1"),
        ("0 0.1 0.1 1.2 0.1 0.9 0.9", "from 0 to 1, got one 0.2 beyond"),
        ("0 0.1 -0.1 0.5 0.1 0.9 0.9", "from 0 to 1, got one 0.1 beyond"),
        ("0 0.1 x 0.5 0.1 0.9 0.9", "something else"),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1", "centre of no pixel"),
    ],
)
def test_a_bad_row_is_listed_and_the_others_are_read(tmp_path, row, reason):
    image(tmp_path, "images/a.png", 10, 10)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(f"0 0 0 1.0005 0 1 1 0 1\n{row}\n")
    found, (rejected,) = read(folder(tmp_path, train="images"))
    assert found[0].objects == [("ship", "1 100")]
    assert (rejected.where, rejected.item) == (str(tmp_path / "labels/a.txt"), "row 2")
    assert re.search(reason, rejected.reason)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, "expected train, val or test"),
        ({"names": None, "train": "x"}, "expected names, a list or"),
        ({"names": {"a": 1}, "train": "x"}, "expected names, a list or"),
        ({"names": ["a", "a"], "train": "x"}, "two of the names are equal"),
    ],
)
def test_a_yaml_file_that_tells_too_little_is_refused(tmp_path, known, message):
    with pytest.raises(DataError, match=message):
        read(folder(tmp_path, **known))
    (tmp_path / "more.yaml").touch()
    with pytest.raises(DataError, match=r"one YAML file, .* got data.yaml, more.yaml"):
        read(tmp_path)
    with pytest.raises(DataError, match="Leave out --images"):
        list(yolo.read(Source(tmp_path / "data.yaml", tmp_path), []))
    with pytest.raises(DataError, match="expected keys with values"):
        read(tmp_path / "more.yaml")
