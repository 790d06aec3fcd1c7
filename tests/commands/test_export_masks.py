"""Masks of a run or a table in every form, and what of them comes back."""

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.annotations import coco, cvat, labelme, yolo
from pipeline.annotations.annotation import Source
from pipeline.commands import export_masks
from pipeline.masks.instances import read_instances, write_instances
from pipeline.masks.rle import encode_labels, encode_mask

pytestmark = pytest.mark.contract

STORED = Path(__file__).parents[1] / "stored_runs" / "0.5.0"
READERS = {
    "coco": (coco.read, "annotations.json"),
    "cvat": (cvat.read, "annotations.xml"),
    "labelme": (labelme.read, ""),
    "yolo": (yolo.read, ""),
}


def export(monkeypatch, *arguments):
    """Call the command; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["export_masks", *map(str, arguments)])
    try:
        export_masks.main()
    except SystemExit as end:
        return end.code
    return 0


def rows(table):
    return sorted(zip(table.ImageId, table.EncodedPixels, strict=True))


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("oof", "runs/tiny/calibrate/oof_instances.csv"),
        ("truth", "runs/tiny/data/instances.csv"),
        ("test", "runs/tiny/submit/submission.csv"),
    ],
)
def test_a_finished_run_gives_predictions_and_truth(tmp_path, monkeypatch, what, file):
    shutil.copytree(STORED, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    wanted = rows(read_instances(Path(file)))
    (folder,) = Path("data").glob("*/test_v2" if what == "test" else "*/train_v2")
    for form, (read, name) in READERS.items():
        out = tmp_path / form
        assert export(monkeypatch, "tiny", "--as", form, "--out", out, "--what", what) == 0
        images = None if form in ("labelme", "yolo") else folder
        rejected = []
        found = [
            (image.path.name, text)
            for image in read(Source(out / name, images), rejected)
            for text in ([text for _, text in image.objects] or [""])
        ]
        assert (sorted(found), rejected) == (wanted, [])
    assert export(monkeypatch, "tiny", "--as", "png", "--out", tmp_path / "png") == 0
    found = [
        (f"{path.stem}.jpg", text)
        for path in (tmp_path / "png/masks").iterdir()
        for text in encode_labels(cv2.imread(str(path), -1).astype(np.int32)) or [""]
    ]
    assert sorted(found) == rows(read_instances(Path("runs/tiny/calibrate/oof_instances.csv")))


@pytest.fixture
def table(tmp_path):
    """A table of two classes: rings, a pixel and nothing, on images of two sizes."""
    for name, shape in {"a.png": (20, 30), "b.png": (7, 9), "c.png": (7, 9)}.items():
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros(shape, np.uint8))
    ring_hw = np.zeros((20, 30), np.uint8)
    ring_hw[2:12, 3:15] = 1
    ring_hw[5:9, 6:12] = 0
    apart_hw = np.zeros((20, 30), np.uint8)
    apart_hw[2:6, 20:28] = apart_hw[12:18, 2:8] = 1
    known = [
        ("a.png", "road", encode_mask(ring_hw)),
        ("a.png", "roof", encode_mask(apart_hw)),
        ("b.png", "road", ""),
        ("b.png", "roof", "63 1"),
    ]
    frame = pd.DataFrame(known, columns=["ImageId", "ClassId", "EncodedPixels"], dtype=str)
    write_instances(tmp_path / "own.csv", frame)
    return tmp_path / "own.csv"


def test_a_table_comes_back_and_what_trainers_lose_of_it_is_told(
    table, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    images = tmp_path / "images"
    for form, (read, name) in READERS.items():
        out = tmp_path / form
        assert export(monkeypatch, table, "--as", form, "--out", out, "--images", images) == 0
        beside = None if form in ("labelme", "yolo") else images
        found = list(read(Source(out / name, beside), []))
        assert [(image.path.name, len(image.objects)) for image in found] == [
            ("a.png", 2),
            ("b.png", 1),
        ]
        known = read_instances(table)
        wanted = known[known.EncodedPixels != ""]
        objects = [each for image in found for each in image.objects]
        assert objects == [*zip(wanted.ClassId, wanted.EncodedPixels, strict=True)]
    (told,) = [entry.args for entry in caplog.records if "as a trainer does" in entry.msg]
    # The line between the two parts of an object has 12 pixels of its own.
    assert told == ("F2", pytest.approx(0.925), pytest.approx(0.95), pytest.approx(68 / 80))


def test_what_cannot_be_exported_is_named_and_nothing_is_left(table, tmp_path, monkeypatch, caplog):
    images = tmp_path / "images"
    given = ["--out", tmp_path / "out", "--images", images]
    (images / "b.png").unlink()
    shutil.copy(images / "c.png", images / "d.png")
    bad = tmp_path / "bad.csv"
    bad.write_text("ImageId,EncodedPixels\nc.png,1 3\nd.png,60 9\n")
    shared = tmp_path / "shared.csv"
    shared.write_text("ImageId,EncodedPixels\nc.png,1 3\nc.png,2 3\n")
    outside = tmp_path / "outside.csv"
    outside.write_text("ImageId,EncodedPixels\n../images/c.png,1 3\n")
    for arguments, message in (
        ([outside, "--as", "png", *given], "../images/c.png: its name is not that of a file"),
        ([table, "--as", "coco", *given], "b.png: no such image"),
        ([bad, "--as", "coco", *given], "bad.csv, row 3 (d.png): RLE: pair '60 9' ends beyond"),
        ([shared, "--as", "png", *given], "c.png: masks 1 and 2 of 2 share pixels"),
        ([table, "--as", "png", "--polygons", *given], "--polygons: expected --as coco, got png"),
        ([table, "--as", "png", "--out", tmp_path / "out"], "expected --images"),
        (["tiny", "--as", "png", *given], "--images: expected a table"),
        ([table, "--as", "png", "--out", images, "--images", images], "images: exists"),
    ):
        caplog.clear()
        assert export(monkeypatch, *arguments) == 2
        assert message in caplog.text
        assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
