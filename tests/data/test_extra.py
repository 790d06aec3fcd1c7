"""Folders of `data.extra`: checked, kept apart from validation, and never half taken."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.config.load import load_config
from pipeline.data.catalog import LabelledImages
from pipeline.data.extra import read_extra
from pipeline.errors import ArtifactError, ConfigError, DataError
from pipeline.jobs.run import Run
from pipeline.masks.rle import encode_mask
from tests.all_stages import run_stages

ROOT = Path(__file__).parents[2]
SIDE = 48
pytestmark = pytest.mark.contract
CLASSES = ("a", "b")


def draw(folder, sizes, *, seed, classes=CLASSES, table="masks.csv"):
    """Draw images of noise, each with a rectangle of every class but the first image's."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["ImageId,ClassId,EncodedPixels"]
    for number, (height, width) in enumerate(sizes):
        name = f"{seed}-{number}.png"
        image_hwc = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / name), image_hwc)
        for place, class_id in enumerate(classes):
            mask_hw = np.zeros((height, width), np.uint8)
            mask_hw[3 + 9 * place : 9 + 9 * place, 2 : 5 + number] = number > 0
            lines.append(f"{name},{class_id},{encode_mask(mask_hw)}")
    (folder / table).write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Make a run on eight images of two sizes that has done its first two stages."""
    monkeypatch.chdir(tmp_path)
    root = draw(tmp_path / "own", [(SIDE, SIDE)] * 6 + [(SIDE, 63)] * 2, seed=0)
    (root / "test_images").mkdir()
    shutil.copy(root / "images" / "0-0.png", root / "test_images" / "x.png")
    sample = "".join(f"x.png,{name},\n" for name in CLASSES)
    (root / "sample_submission.csv").write_text(f"ImageId,ClassId,EncodedPixels\n{sample}")
    monkeypatch.setattr("pipeline.networks.check.check_network", lambda *_, **__: None)

    def make(*extra, name="r", stages=("s0_data", "s1_split"), more=()):
        overrides = [f"own_data.classes=[{','.join(CLASSES)}]", f"data.root={root}", f"name={name}"]
        overrides += ["predict.look_again=false", "calibrate.candidate_selection=null"]
        overrides += [f"data.extra=[{', '.join(map(str, extra))}]", *more]
        run = Run(load_config(ROOT / "configs" / "masks.yaml", overrides), restart=False)
        run_stages(run, stages)
        return run

    return make


def quarantine(run):
    return (run.folder / "data" / "quarantine.csv").read_text()


def test_extra_images_of_any_size_are_for_every_fold(make_run, tmp_path):
    run = make_run(draw(tmp_path / "more", [(SIDE, SIDE), (30, 70), (SIDE, SIDE)], seed=1))
    for fold in range(2):
        extra = read_extra(run, fold)
        assert [path.name for path in extra.paths] == ["1-0.png", "1-1.png", "1-2.png"]
        assert extra.sizes == [(SIDE, SIDE), (30, 70), (SIDE, SIDE)]
        assert [len(texts) for texts in extra.objects] == [0, 0, 1, 1, 1, 1]
        rows, columns = np.divmod(int(extra.objects[2][0].split()[0]) - 1, 30)[::-1]
        assert (rows, columns) == (3, 2)
    assert (
        json.loads((run.folder / "data" / "manifest.json").read_text())["metrics"]["extra_images"]
        == 3
    )
    for written in ("instances.csv", "catalog.json"):
        assert "1-0" not in (run.folder / "data" / written).read_text()
    assert "1-0" not in (run.folder / "split" / "folds.csv").read_text()
    assert read_extra(make_run(name="plain"), 0) == LabelledImages([], [], [])


def test_a_copy_of_a_training_image_and_of_a_part_of_one_are_left_out(make_run, tmp_path):
    folder = draw(tmp_path / "more", [(SIDE, SIDE)] * 3 + [(SIDE, 63)], seed=1)
    own = cv2.imread("own/images/0-3.png")
    cv2.imwrite(str(folder / "images" / "1-0.png"), own)
    shutil.copy("own/images/0-7.png", folder / "images" / "1-3.png")
    moved = cv2.imread(str(folder / "images" / "1-2.png"))
    moved[: SIDE // 3 * 2] = own[SIDE // 3 :]
    cv2.imwrite(str(folder / "images" / "1-2.png"), moved)
    run = make_run(folder)
    assert [path.name for path in read_extra(run, 0).paths] == ["1-1.png"]
    assert 'more/1-0.png,extra,images/1-0.png,"overlaps training image 0-3.png' in quarantine(run)
    assert 'more/1-3.png,extra,images/1-3.png,"overlaps training image 0-7.png' in quarantine(run)
    shutil.copy("own/images/0-3.png", folder / "images" / "1-1.png")
    with pytest.raises(DataError, match=r"data\.extra.*all 4 images overlap training images"):
        make_run(folder, name="all")


def test_what_is_wrong_with_a_folder_is_told(make_run, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.extra: \S*gone: there is no such folder"):
        make_run(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.extra.*not there: masks\.csv, images/"):
        make_run(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"folders whose names differ.*several called more"):
        make_run(tmp_path / "more", tmp_path / "else" / "more")
    other = draw(tmp_path / "other", [(SIDE, SIDE)] * 2, seed=2, classes=("a", "c"))
    with pytest.raises(DataError, match=r"class 'c', of which there is none; there are a, b"):
        make_run(other)
    small = draw(tmp_path / "small", [(SIDE, SIDE)] * 3, seed=3)
    cv2.imwrite(str(small / "images" / "3-2.png"), np.zeros((20, 4, 3), np.uint8))
    run = make_run(small, more=["data.max_bad_share=0.4"])
    assert [path.name for path in read_extra(run, 0).paths] == ["3-0.png", "3-1.png"]
    assert "small/3-2.png,extra,masks.csv row 6,RLE" in quarantine(run)


def test_a_folder_that_changes_is_noticed_and_one_that_moves_is_not(make_run, tmp_path):
    folder = draw(tmp_path / "more", [(SIDE, SIDE)] * 2, seed=1)
    make_run(folder)
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "more")
    assert read_extra(make_run(moved), 0).paths[0].parent == moved / "images"
    draw(moved, [(SIDE, SIDE)] * 2, seed=1, classes=("a", "b"))
    make_run(moved)
    draw(moved, [(SIDE, SIDE)] * 3, seed=1)
    with pytest.raises(ArtifactError, match=r"finished for something else.*data\.extra/more/masks"):
        make_run(moved)
    # Where stage 0 is not asked, the stage that trains says so.
    run = make_run(stages=())
    with pytest.raises(ArtifactError, match=re.escape("checked with data.extra=[more], now []")):
        read_extra(run, 0)


def test_pseudo_labels_are_of_the_fold_and_of_the_same_folds(make_run, tmp_path):
    plain = make_run(name="plain")
    folds = plain.result("split").manifest["outputs"]["folds.csv"]["sha256"]
    folder = tmp_path / "labels"
    for fold in range(2):
        draw(folder, [(SIDE, SIDE)] * (2 + fold), seed=4, table=f"masks_fold{fold}.csv")
    known = {"run": "plain", "folds": 2, "classes": [*CLASSES], "objects": True}
    (folder / "pseudo_labels.json").write_text(json.dumps(known | {"folds_sha256": folds}))
    run = make_run(folder)
    names = [[path.name for path in read_extra(run, fold).paths] for fold in range(2)]
    assert names == [["4-0.png", "4-1.png"], ["4-0.png", "4-1.png", "4-2.png"]]
    (folder / "pseudo_labels.json").write_text(json.dumps(known | {"folds_sha256": "0" * 64}))
    with pytest.raises(DataError, match=r"labels by networks of this run's folds.*others \(0000"):
        make_run(folder, name="others")
    (folder / "pseudo_labels.json").write_text(json.dumps(known | {"folds": 3}))
    with pytest.raises(DataError, match=r"expected labels of .*'folds': 2.*'folds': 3"):
        make_run(folder, name="more")
