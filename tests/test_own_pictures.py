"""Data of one's own as people have it: deep and transparent pictures, and none to predict."""

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import s6_submit, s7_report
from pipeline.commands.predict_images import find_scenes, predict_scenes
from pipeline.config.load import load_config
from pipeline.data.files import fingerprint
from pipeline.data.stand_in import render_stand_in
from pipeline.errors import ConfigError, DataError
from pipeline.jobs.run import Run
from pipeline.package.contents import Package
from pipeline.package.model import Model
from tests.all_stages import run_stages
from tests.test_all_competitions import ROOT, TINY

FEW_RULES = [
    *("calibrate.watershed=null", "calibrate.thresholds=[0.5]", "calibrate.min_areas_px=[0, 8]"),
    *("calibrate.image_filter_probabilities=[0.0]", "calibrate.image_filter_areas_px=[0]"),
]
READ = ["data.reading.alpha=drop", "data.reading.range=[100, 4180]"]


def run_of(name, *overrides):
    given = [*TINY, *FEW_RULES, f"data.root={name}", f"name={name}", *overrides]
    return Run(load_config(ROOT / "configs" / "masks.yaml", given), restart=False)


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A folder of training images of 8 bits, and one of the same as people have them."""
    monkeypatch.chdir(tmp_path)
    task = load_config(ROOT / "configs" / "masks.yaml", []).task
    render_stand_in(Path("plain"), task, seed=0, train_tiles=6, test_tiles=1, empty_share=0.3)
    for path in map(Path, ("plain/demo.json", "plain/sample_submission.csv")):
        path.unlink()
    shutil.rmtree("plain/test_images")
    shutil.copytree("plain", "own")
    for number, path in enumerate(sorted(Path("own/images").iterdir())):
        image_hwc = cv2.imread(str(path))
        if number % 2:
            image_hwc = image_hwc.astype(np.uint16) * 16 + 100
        else:
            image_hwc = np.dstack([image_hwc, image_hwc[..., 0]])
        assert cv2.imwrite(str(path), image_hwc)
    return run_of("plain")


def test_pictures_read_as_told_make_the_same_run(plain, caplog):
    with pytest.raises(DataError, match=r"set data\.reading\.(alpha to drop|range)"):
        run_stages(run_of("own"), ["s0_data"])
    run = run_of("own", *READ)
    for each in (plain, run):
        run_stages(each)
    for name in ("split/folds.csv", "calibrate/oof_instances.csv", "calibrate/rules.json"):
        assert (run.folder / name).read_bytes() == (plain.folder / name).read_bytes()
    assert len([*Path("data/.verified").iterdir()]) == 3, "of each folder as it was read"

    for each in (plain, run):
        pictures = find_scenes([each.config.data_folder / "images"])
        predict_scenes(pictures, Model(Package.of_run(each)), each.folder / "pictures")
    tables = [each.folder / "pictures" / "instances.csv" for each in (plain, run)]
    assert tables[0].read_bytes() == tables[1].read_bytes()

    # Without test images there is nothing to predict and to submit.
    submitted = json.loads((run.folder / "submit" / "manifest.json").read_text())
    assert (submitted["outputs"], submitted["metrics"]) == ({}, {"images": 0})
    assert not (run.folder / "predict" / "test").exists()
    assert not Path("submissions").exists()
    s7_report.stage(run)
    assert "none to predict" in (run.folder / "report" / "index.html").read_text()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run_stages(run_of("own", *READ))
    assert "running" not in caplog.text
    assert "submit: nothing, as there are no test images" in caplog.text


def test_no_test_images_is_no_half_of_them(plain):
    with pytest.raises(ConfigError, match=r"--upload: expected test_images/ and .* neither"):
        s6_submit.stage(plain, upload="first", check=True)
    Path("plain/test_images").mkdir()
    with pytest.raises(DataError, match=r"not there: sample_submission\.csv.* left out, both"):
        fingerprint(Path("plain"), plain.config.task)
