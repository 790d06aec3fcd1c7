"""The real run.sh on the demo in miniature: to the end, again, wrongly, and killed on the way."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest
import torch
import yaml
from all_stages import do_parts, run_stages

from pipeline import s4_predict
from pipeline.config.load import load_config
from pipeline.errors import ArtifactError
from pipeline.jobs.lock import Lock
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.masks.instances import read_instances

pytestmark = pytest.mark.smoke

TINY = "tests/tiny.yaml"


@pytest.fixture(scope="module")
def finished(shared_checkout):
    output = shared_checkout.run(TINY)
    return shared_checkout, output


def submission(checkout, run="tiny"):
    (path,) = (checkout.folder / "submissions").glob(f"{run}-*.csv")
    return path


def test_it_ends_with_a_score_and_a_legal_submission(finished):
    checkout, output = finished
    assert re.search(r"out-of-fold F2.*images with objects.*empty images", output)
    assert re.search(r"test images.*F2", output)
    path = submission(checkout)
    with path.open() as file:
        ids = {row["ImageId"] for row in csv.DictReader(file)}
    (root,) = (checkout.folder / "data").glob("demo-*")
    assert ids == {image.name for image in (root / "test_v2").iterdir()}
    ledger = (checkout.folder / "submissions" / "ledger.csv").read_text()
    assert path.stem.removeprefix("tiny-") in ledger


def test_the_run_folder_holds_what_the_design_promises(finished):
    run = finished[0].folder / "runs" / "tiny"
    expected = ["config.yaml", "run.log", "data/quarantine.csv", "calibrate/rules.json"]
    expected += ["calibrate/scores.json", "calibrate/oof_instances.csv", "submit/submission.csv"]
    expected += [
        f"{stage}/fold{fold}/{name}"
        for stage in ("train", "finetune")
        for fold in range(2)
        for name in ("last.pt", "final.pt", "history.csv", "manifest.json")
    ]
    assert [name for name in expected if not (run / name).is_file()] == []
    leftovers = [path for path in run.rglob("*") if path.suffix == ".tmp"]
    assert leftovers == []


def test_a_second_run_finds_everything_done_within_seconds(finished):
    checkout, _ = finished
    before = {p: p.stat().st_mtime_ns for p in (checkout.folder / "runs").rglob("manifest.json")}
    started = time.monotonic()
    output = checkout.run(TINY)
    assert time.monotonic() - started < 30
    assert "running" not in output
    after = {p: p.stat().st_mtime_ns for p in (checkout.folder / "runs").rglob("manifest.json")}
    assert after == before


def test_another_configuration_for_the_same_run_is_refused(finished):
    output = finished[0].run(TINY, "train.epochs=9", code=2)
    assert "train.epochs was 3, now 9" in output
    assert "--from train --restart" in output
    assert "Traceback" not in output


def opened(*, restart=False):
    """Open the tiny run from this process, which must be in its checkout."""
    return Run(load_config(Path(TINY), []), restart=restart)


def test_a_damaged_weight_file_stops_the_stage_that_reads_it(finished, monkeypatch):
    checkout, _ = finished
    monkeypatch.chdir(checkout.folder)
    path = Path("runs/tiny/finetune/fold0/final.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes(100))
    try:
        with pytest.raises(ArtifactError, match=r"final.pt: damaged: expected SHA-256"):
            do_parts(s4_predict.stage, opened(restart=True), ["0"])
    finally:
        path.write_bytes(whole)
        do_parts(s4_predict.stage, opened(), ["0"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--form", "train"], "unknown option --form"),
        (["--from", "trian"], "--from trian: expected one of: data split train"),
        (["config.yml"], r"config.yml: no such configuration file"),
        ([TINY, "--folds", "0,7"], r"--folds 0,7: expected different ones of 0, 1"),
        ([TINY, "--jobs", "0"], "--jobs 0: expected auto or a number from 1 on"),
        ([TINY, "data.root=/no/such"], r"/no/such: expected the competition's files"),
        ([TINY, "sed=1"], r"sed: unknown key. Did you mean 'seed'\?"),
        (["whatever"], "unknown argument whatever"),
        (
            ["--from", "calibrate", "--to", "split"],
            "--from calibrate: expected a stage up to split",
        ),
        (["--from", "predict", "--folds", "0"], "--from predict: expected a stage up to finetune"),
        (["--to", "predict", "--folds", "0"], "--folds 0: expected --to finetune or earlier"),
        (["--from", "report", "--upload", "text"], "--upload needs the stage submit"),
    ],
)
def test_a_wrong_command_line_is_answered(finished, arguments, expected):
    output = finished[0].run(*arguments, code=2)
    assert re.search(expected, output)
    assert "Traceback" not in output


def overrides_of(settings, key=()):
    """What a YAML file gives, as `key=value` arguments."""
    if not isinstance(settings, dict):
        return [f"{'.'.join(key)}={json.dumps(settings)}"]
    return [line for name, value in settings.items() for line in overrides_of(value, (*key, name))]


@pytest.mark.parametrize("name", ["classes", "contact"])
def test_other_targets_go_all_the_way_too(finished, monkeypatch, caplog, name):
    checkout, _ = finished
    monkeypatch.chdir(checkout.folder)
    tiny = yaml.safe_load(Path(TINY).read_text()) | {"name": name}
    del tiny["base"]
    overrides = [*overrides_of(tiny), "train.epochs=1"]
    with caplog.at_level("INFO"):
        run_stages(Run(load_config(Path(f"configs/{name}.yaml"), overrides), restart=False))
    assert "test images: F2" in caplog.text
    channels = weights(checkout, "finetune", name)["body.segmentation_head.0.bias"]
    assert len(channels) == {"classes": 3, "contact": 2}[name]
    assert submission(checkout, name).is_file()


def wait_for(process, path: Path):
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def weights(checkout, stage, run="tiny"):
    path = checkout.folder / "runs" / run / stage / "fold1" / "final.pt"
    return torch.load(path, weights_only=True)["model"]


def kill_at(checkout, reached: Path):
    """Run the stages in one process, and kill it once a file is there."""
    process, log = checkout.start_module("tests.all_stages", TINY)
    while not reached.exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    process.kill()
    process.join()


@pytest.mark.timeout(600)
def test_killed_anywhere_it_goes_on_to_the_same_bits(finished, checkout):
    run = checkout.folder / "runs" / "tiny"
    kill_at(checkout, run / "data" / "manifest.json")
    process = checkout.start(TINY)  # both folds in processes of their own
    wait_for(process, run / "train" / "fold0" / "last.pt")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for fold in (0, 1):  # whose processes the kernel ends a little later
        with Lock(run / "locks" / f"train-fold-{fold}", "training").take(wait=True):
            pass
    kill_at(checkout, run / "train" / "fold1" / "last.pt")
    kill_at(checkout, run / "finetune" / "fold1" / "last.pt")
    kill_at(checkout, run / "predict" / "oof" / "fold0" / "maps")
    kill_at(checkout, run / "predict" / "test" / "manifest.json")
    output = checkout.run_in_one_process(TINY)
    assert "train fold 0: running" not in output
    whole = finished[0]
    for stage in ("train", "finetune"):
        ours, theirs = weights(checkout, stage), weights(whole, stage)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert submission(checkout).name == submission(whole).name
    assert submission(checkout).read_bytes() == submission(whole).read_bytes()


def test_ctrl_c_ends_within_seconds_and_says_how_to_go_on(checkout):
    process = checkout.start(TINY, "train.epochs=500", cores=1)
    last = checkout.folder / "runs" / "tiny" / "train" / "fold0" / "last.pt"
    wait_for(process, last)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    try:
        output = process.communicate(timeout=60)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert time.monotonic() - started < 10
    assert process.returncode != 0
    assert "Run the same command again" in output
    assert "Traceback" not in output


def test_sigterm_to_the_script_alone_is_passed_on_and_saved(checkout):
    process = checkout.start(TINY, "train.epochs=500")
    logs = checkout.folder / "runs" / "tiny" / "logs"
    for fold in (0, 1):
        wait_for(process, checkout.folder / "runs" / "tiny" / "train" / f"fold{fold}" / "last.pt")
    process.terminate()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 75, output
    for fold in (0, 1):
        assert "stopped by SIGTERM after step" in (logs / f"train-{fold}.log").read_text()


def test_shards_make_the_maps_of_the_whole(finished, monkeypatch, caplog):
    checkout, _ = finished
    monkeypatch.chdir(checkout.folder)
    folder = Path("runs/tiny/predict/test")
    before = (folder / "index.csv").read_text()
    stage = ["pipeline.s4_predict", "--config", TINY, "--folds", "test:1/2", "--restart"]
    output = checkout.run_module(*stage)
    assert not (folder / "manifest.json").exists(), output
    run, part = opened(), Part("test", 0, 2)
    s4_predict.stage.work(run, s4_predict.stage.job(run, part), part)
    assert not (folder / "manifest.json").exists()
    do_parts(s4_predict.stage, run, ["test"])
    assert (folder / "index.csv").read_text() == before
    with caplog.at_level("INFO"):
        run_stages(opened())
    assert caplog.text.count("done before") > 5, "the maps are the same for who reads them"


def test_two_processes_of_a_group_make_the_maps_of_one(finished):
    checkout, _ = finished
    folder = checkout.folder / "runs" / "tiny" / "predict" / "test"
    before = (folder / "index.csv").read_text()
    stage = ["pipeline.s4_predict", "--config", TINY, "--folds", "test", "--restart"]
    logs = [checkout.folder / "0.log", checkout.folder / "1.log"]
    members = forked.start_group(checkout.folder, checkout.environment, logs, *stage)
    for member in members:
        member.join(280)
    output = "".join(log.read_text() for log in logs)
    assert [member.exitcode for member in members] == [0, 0], output
    assert output.count("predict/test: running") == 1, output
    assert (folder / "index.csv").read_text() == before


def test_the_metrics_of_training_are_recorded(finished):
    run = finished[0].folder / "runs" / "tiny"
    manifest = json.loads((run / "train" / "fold0" / "manifest.json").read_text())
    with (run / "train" / "fold0" / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[-1]["loss"]) == pytest.approx(manifest["metrics"]["loss"])
    assert set(history[0]) >= {"loss", "val_loss", "learning_rate", "data_wait_s"}
    scores = json.loads((run / "calibrate" / "scores.json").read_text())
    for of in ("", "image_", "ship_image_"):
        for name in ("dice", "jaccard", "cosine"):
            assert 0 <= scores["coefficients"][f"{of}{name}"] <= 1
            assert 0 <= float(history[-1][f"val_{of}{name}"]) <= 1


def test_the_report_shows_the_run_and_predict_image_takes_any_picture(finished, tmp_path):
    checkout, output = finished
    page = checkout.folder / "runs" / "tiny" / "report" / "index.html"
    assert "report: runs/tiny/report/index.html" in output
    assert 'class="problem"' not in page.read_text()
    (root,) = (checkout.folder / "data").glob("demo-*")
    pictures = sorted((root / "test_v2").iterdir())[:4]
    large = np.tile(cv2.imread(str(pictures[0])), (2, 3, 1))[:, :250]
    cv2.imwrite(str(tmp_path / "large.png"), large)
    for path in pictures:
        shutil.copy(path, tmp_path)
    (tmp_path / "broken.jpg").write_text("no picture")
    arguments = ["pipeline.commands.predict_images", str(tmp_path), "--run", "tiny"]
    told = checkout.run_module(*arguments, "--out", "found", code=2)
    assert "broken.jpg: not decodable: 10 bytes" in told
    out = checkout.folder / "found"
    assert cv2.imread(str(out / "large.png.overlay.png")).shape == large.shape
    rows = read_instances(out / "instances.csv")
    submitted = read_instances(submission(checkout))
    for path in pictures:  # one window, so the same ships as the run's own
        own = rows[rows.ImageId == path.name].EncodedPixels.tolist()
        assert own == submitted[submitted.ImageId == path.name].EncodedPixels.tolist()
        features = json.loads((out / f"{path.name}.geojson").read_text())["features"]
        assert len(features) == len([text for text in own if text])
