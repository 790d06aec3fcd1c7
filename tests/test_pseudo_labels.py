"""Labels by each fold's network alone, whole or not there, and a run that is trained on them."""

import csv
import json
import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline import s2_train
from pipeline.commands import pseudo_labels
from pipeline.config.load import load_config
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps
from pipeline.masks.rle import decode_labels
from pipeline.package.contents import Package
from pipeline.package.found import describe
from tests.all_stages import do_parts, run_stages

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[1]
FIRST = ["s0_data", "s1_split"]


def make_run(*overrides):
    tiny = ["data.demo.train_tiles=12", "train.epochs=1", "crops.per_epoch=64", *overrides]
    return Run(load_config(ROOT / "tests" / "tiny.yaml", tiny), restart=False)


def rows_of(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture
def label(tmp_path, monkeypatch):
    """Label by networks that take bright, and in fold 1 dark, pixels for ships."""
    monkeypatch.chdir(tmp_path)
    run_stages(make_run("name=first"), FIRST)

    class Model:
        def __init__(self, package):
            self.config, self.weights = package.config, package.weights

        def look(self, picture):
            bright_hw = picture.image_hwc[..., 1]
            maps = ImageMaps(bright_hw if self.weights == (0,) else 255 - bright_hw)
            _, labels_hw = cv2.connectedComponents((maps.prob_hw >= 128).astype(np.uint8))
            return {"ship": maps}, describe("ship", labels_hw, maps)

    package = Package(make_run("name=first").config, None, (0, 1), (), {}, None, (1, 1), {})
    monkeypatch.setattr("pipeline.package.model.Model", Model)
    monkeypatch.setattr(Package, "of_run", lambda _: package)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pseudo_labels", "first", *map(str, arguments)])
        pseudo_labels.main()

    return run


def test_a_run_is_trained_on_the_labels_of_each_folds_network(label, tmp_path, caplog):
    label("--out", "labels", "--min-iou", 0, "--max-empty", 1)
    out, data = tmp_path / "labels", make_run("name=first").config.data_folder
    tests = sorted(path.name for path in (data / "test_v2").iterdir())
    assert sorted(path.name for path in (out / "images").iterdir()) == tests
    for fold in range(2):
        masks = rows_of(out / f"masks_fold{fold}.csv")
        assert list(dict.fromkeys(row["ImageId"] for row in masks)) == tests
        for name in tests:
            bright_hw = np.asarray(Image.open(out / "images" / name))[..., 1]
            texts = [m["EncodedPixels"] for m in masks if m["ImageId"] == name]
            found_hw = decode_labels([text for text in texts if text], *bright_hw.shape) > 0
            assert (found_hw == ((bright_hw if fold == 0 else 255 - bright_hw) >= 128)).all()
    caplog.set_level(logging.INFO)
    second = make_run("name=second", "data.extra=[labels]")
    run_stages(second, FIRST)
    do_parts(s2_train.stage, second, ["0"])
    assert "train fold 0: 5 training images and 8 of data.extra, 4 validation" in caplog.text
    do_parts(s2_train.stage, make_run("name=second", "data.extra=[labels]"), ["0"])
    assert "train fold 0: done before" in caplog.text
    known = [
        json.loads(Path(f"runs/{name}/split/manifest.json").read_text())
        for name in ("first", "second")
    ]
    assert known[0]["outputs"] == known[1]["outputs"]


def test_only_what_a_network_is_sure_of_is_kept(label, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, shade in {"black": 0, "dim": 60, "grey": 150, "white": 255}.items():
        Image.new("RGB", (9, 5 + shade % 2), (shade,) * 3).save(pictures / f"{name}.png")
    (pictures / "text.png").write_text("no picture")
    Image.new("RGB", (9, 5)).save(pictures / "two\nlines.png")
    label("--out", "labels", "--images", "pictures")
    kept = [
        {row["ImageId"] for row in rows_of(tmp_path / "labels" / f"masks_fold{fold}.csv")}
        for fold in range(2)
    ]
    assert kept == [{"black.png", "white.png"}, {"black.png", "white.png", "dim.png"}]
    assert len(rows_of(tmp_path / "labels" / "confidence.csv")) == 8
    assert "left out: text.png: " in caplog.text
    assert r"left out: 'two\nlines.png': its name has control characters" in caplog.text
    assert "fold 0: sure of 1 of 2 images with objects and 1 of 2 images without" in caplog.text


def test_what_cannot_be_labelled_is_told(label, tmp_path, caplog):
    (tmp_path / "there").mkdir()
    (tmp_path / "grey").mkdir()
    Image.new("RGB", (9, 5), (150,) * 3).save(tmp_path / "grey" / "a.png")
    for arguments, said in (
        (["--out", "there"], "there: exists"),
        (["--images", "gone"], "gone (--images): expected a folder of pictures"),
        (["--images", "there"], "there (--images): expected pictures, found none"),
        (["--low", 0.8], "--low 0.8: expected less than --high 0.7"),
        (["--min-iou", 2], "--min-iou 2.0: expected a number in 0..1"),
        (["--images", "grey"], "fold 0: expected a network that is sure of some image"),
    ):
        with pytest.raises(SystemExit, match="2"):
            label("--out", "labels", *arguments)
        assert said in caplog.text
        assert not (tmp_path / "labels").exists()
