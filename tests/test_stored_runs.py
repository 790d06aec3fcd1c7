"""Runs that earlier versions made are used for everything, and nothing of them is made again.

tests/stored_runs holds a finished run of every version, made by make.py with that version's code
and never changed after.
"""

import json
import logging
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from all_stages import STAGES, do_parts, run_stages

import pipeline
from pipeline import s2_train
from pipeline.commands._runs import open_run
from pipeline.commands.predict_images import find_scenes, predict_scenes
from pipeline.config.schema import Ensemble
from pipeline.data.hard_examples import draw_weights, hard_maps
from pipeline.errors import ArtifactError
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.masks.instances import read_instances
from pipeline.masks.rle import decode_labels
from pipeline.package import build
from pipeline.package.contents import Package
from pipeline.package.model import Model
from pipeline.package.predict import predict_package
from pipeline.report.comparison import compare

pytestmark = pytest.mark.contract

STORED = Path(__file__).parent / "stored_runs"
VERSIONS = sorted(path.name for path in STORED.iterdir() if path.is_dir())
JOBS = 11
NEW_KEYS = {("augment", "zoom"), ("crops", "hard_run"), ("predict", "ensemble")}


def copied(version, folder, monkeypatch):
    """Go to a copy of a version's stored run, and open it."""
    shutil.copytree(STORED / version, folder / "copy")
    monkeypatch.chdir(folder / "copy")
    return open_run("tiny")


@pytest.fixture(params=VERSIONS)
def stored(request, tmp_path, monkeypatch):
    return copied(request.param, tmp_path, monkeypatch)


@pytest.fixture
def grown(tmp_path, monkeypatch):
    """The run of this version as it would be if NEW_KEYS and the section image_head were new."""
    copied(pipeline.__version__, tmp_path, monkeypatch)

    def shorten(settings):
        settings.pop("image_head", None)
        for section, key in NEW_KEYS:
            settings.get(section, {}).pop(key, None)

    path = Path("runs/tiny/config.yaml")
    settings = yaml.safe_load(path.read_text())
    shorten(settings)
    path.write_text(yaml.safe_dump(settings))
    for path in Path("runs").rglob("manifest.json"):
        manifest = json.loads(path.read_text())
        shorten(manifest["config"])
        path.write_text(json.dumps(manifest))
    return open_run("tiny")


def assert_all_done(run, caplog):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run_stages(run)
    assert "running" not in caplog.text
    assert caplog.text.count("done before") == JOBS


def assert_same_objects(found, expected):
    """Compare tables; on another processor a probability may round to the next level."""
    assert found.ImageId.tolist() == expected.ImageId.tolist()
    for name, texts in expected.groupby("ImageId").EncodedPixels:
        masks = [texts, found[found.ImageId == name].EncodedPixels]
        ours_hw, theirs_hw = (decode_labels(each.tolist(), 96, 96) > 0 for each in masks)
        assert np.count_nonzero(ours_hw != theirs_hw) <= 2


def assert_predicts_as_then(run):
    (pictures,) = Path("data").glob("demo-*/test_v2")
    model = Model(Package.of_run(run))
    predict_scenes(find_scenes([pictures]), model, Path("out"))
    found, then = (read_instances(Path(name) / "instances.csv") for name in ("out", "found"))
    assert (then.EncodedPixels != "").sum() > 5
    assert_same_objects(found, then)


def renamed(run, name, **sections):
    """Return a run of the same settings but for some of a section's."""
    changes = {
        section: getattr(run.config, section).model_copy(update=update)
        for section, update in sections.items()
    }
    return Run(run.config.model_copy(update={"name": name, **changes}), restart=False)


def test_this_version_has_stored_a_run():
    version = pipeline.__version__
    assert version in VERSIONS, f"python tests/stored_runs/make.py . tests/stored_runs/{version}"


def test_a_run_is_used_as_it_was_left(stored, request, caplog):
    if request.node.callspec.params["stored"] == "0.1.0":
        # Its rules have other names and, if they are learnt, ask for what is not measured now.
        for use in (run_stages, assert_predicts_as_then):
            with pytest.raises(ArtifactError, match=r"calibrate.*--from calibrate --restart`"):
                use(stored)
        run_stages(Run(stored.config, restart=True), ["s5_calibrate", "s6_submit"])
    assert_all_done(stored, caplog)
    assert_predicts_as_then(stored)


def test_a_run_without_confidence_says_how_it_gets_one(tmp_path, monkeypatch, caplog):
    run = copied("0.6.0", tmp_path, monkeypatch)
    assert Package.of_run(run).confidence is None
    assert "tiny: calibrated by a version without confidence" in caplog.text
    assert "--from calibrate --restart" in caplog.text
    run_stages(Run(run.config, restart=True), ["s5_calibrate"])
    caplog.clear()
    assert Package.of_run(run).confidence == {"ship": None}  # of so few objects
    assert caplog.text == ""


def test_an_unfinished_fold_resumes(stored):
    folder = stored.folder / "train" / "fold1"
    whole = torch.load(folder / "final.pt", weights_only=True)["model"]
    for name in ("final.pt", "manifest.json"):
        (folder / name).unlink()
    do_parts(s2_train.stage, stored, ["1"])
    again = torch.load(folder / "final.pt", weights_only=True)["model"]
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_settings_that_are_new_leave_a_run_usable(grown, caplog):
    assert_all_done(grown, caplog)
    assert_predicts_as_then(grown)
    changed = renamed(grown, "tiny", augment={"zoom": 0.25})
    with pytest.raises(ArtifactError, match=r"augment.zoom was 0.0, now 0.25"):
        run_stages(changed)


def test_settings_that_are_new_leave_a_fold_resumable(grown):
    for fold, name in product((0, 1), ("final.pt", "manifest.json")):
        (grown.folder / "train" / f"fold{fold}" / name).unlink()
    with pytest.raises(
        ArtifactError, match=r"last\.pt: unfinished .*augment\.zoom was 0\.0, now 0"
    ):
        do_parts(s2_train.stage, renamed(grown, "tiny", augment={"zoom": 0.25}), ["1"])
    do_parts(s2_train.stage, grown, ["1"])


def test_settings_that_are_new_leave_a_run_to_others(grown):
    """An ensemble of it has its ships, and differs in one setting; another run learns from it."""
    alone = Ensemble(runs=["tiny"], mean="probability")
    both = renamed(grown, "both", predict={"ensemble": alone})
    run_stages(both)
    sent = [read_instances(run.folder / "submit" / "submission.csv") for run in (grown, both)]
    pd.testing.assert_frame_equal(*sent)
    _, text = compare([grown.folder, both.folder])
    differs = text.partition("WHAT THEY SCORE")[0]
    assert "predict.ensemble" in differs
    assert not any(key in differs for key in ("zoom", "hard_run", "image_head"))
    later = renamed(grown, "later", crops={"hard_run": "tiny"})
    run_stages(later, STAGES[:2])
    assert "runs/tiny/predict/oof/fold0" in s2_train.job(later, Part("0")).wanted["files"]
    ids = pd.read_csv(later.folder / "split" / "folds.csv").ImageId
    assert len(draw_weights(hard_maps(later), ids)) == 10


def test_settings_that_are_new_leave_a_run_and_its_package_complete(grown, monkeypatch):
    monkeypatch.setattr(build, "add_wheels", lambda *_: None)
    package = build.build_package(grown, "nobody", []) / "dataset"
    (data,) = Path("data").glob("demo-*")
    predict_package(package, data, Path("submission.csv"))
    sent = read_instances(grown.folder / "submit" / "submission.csv")
    assert_same_objects(read_instances(Path("submission.csv")), sent)
