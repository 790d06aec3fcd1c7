"""Where to look again is chosen once for a fold, whoever comes first, and everyone uses it."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from all_stages import do_parts, run_stages

from pipeline import s4_predict
from pipeline.commands._runs import open_run
from pipeline.errors import ArtifactError
from pipeline.inference import second_look
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.probmaps import MapReader
from pipeline.inference.regions import Look
from pipeline.inference.second_look import FILE, look_of_run, measure_margin, most_careful
from pipeline.inference.tta import Chances
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.maps import as_levels
from pipeline.masks.sizes import Sizes
from pipeline.package import build
from pipeline.package.contents import Package
from pipeline.package.predict import predict_package

STORED = Path(__file__).parents[1] / "stored_runs" / "0.3.0"


@pytest.mark.unit
def test_of_several_choices_the_most_careful_is_taken():
    assert most_careful([Look(0.5, 32), Look(0.3, 96)]) == Look(0.3, 96)
    assert most_careful([Look(0.5, 32), None]) is None


class Sums:
    """A network that answers with the brightness within a reach, None: less that of its input."""

    stride = 8

    def __init__(self, reach_px):
        self._reach_px = reach_px

    def __call__(self, images):
        grey = images.float().mean(1, keepdim=True) / 255
        size = 2 * (self._reach_px or 0) + 1
        near = torch.nn.functional.avg_pool2d(grey, size, 1, size // 2, count_include_pad=False)
        of_all = 0 if self._reach_px else 7 * grey.mean((2, 3), keepdim=True)
        return Chances((near - of_all).clamp(min=0), None)


@pytest.mark.unit
def test_the_margin_is_what_the_network_sees():
    image_chw = torch.zeros(3, 250, 300, dtype=torch.uint8)
    image_chw[:, 90:150, 110:170] = 255
    margins_px = {}
    for reach_px in (10, None):
        network = Sums(reach_px)
        first_hw = as_levels(network(image_chw[None]).maps_nchw)[0, 0].numpy()
        margins_px[reach_px] = measure_margin(network, [image_chw], [first_hw], 300)
    assert margins_px[10] == 32
    assert margins_px[None] > 64, "windows are nearly the whole image there"
    assert measure_margin(Sums(10), [], [], 300) == 300


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The stored run, predicted once with all passes everywhere and once looking again."""
    shutil.copytree(STORED, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(second_look, "MIN_IMAGES", 2)
    monkeypatch.setattr(second_look, "MAX_SHARE", 0.4)
    stored = open_run("tiny")

    def predicted(name, **settings):
        later = shutil.ignore_patterns("predict", "calibrate", "submit", "report")
        shutil.copytree(stored.folder, stored.folder.with_name(name), ignore=later)
        predict = stored.config.predict.model_copy(update=settings)
        config = stored.config.model_copy(update={"name": name, "predict": predict})
        return Run(config, restart=False)

    return predicted("whole"), predicted("looks", look_again=True)


def choose_always(monkeypatch, look):
    monkeypatch.setattr(second_look, "_choose", lambda *_: {"look": asdict(look)})


def maps_of(run, part):
    own = s4_predict.job(run, Part(part))
    images = s4_predict.images(run, Part(part))
    reader = MapReader(own, images, Sizes((96, 96)), contact=False)
    return {name: (reader.read(name) or reader.background(name)).prob_hw for name in images}


@pytest.mark.contract
def test_the_sample_is_complete_and_shards_and_resumed_work_give_the_same_maps(runs, monkeypatch):
    whole, looks = runs
    do_parts(s4_predict.stage, whole, ["0"])
    assert not (whole.folder / "predict" / "oof" / "fold0" / FILE).exists()
    shard = Part("0", 1, 2)
    own = s4_predict.job(looks, shard)
    assert looks.begin(own, part=shard)
    with monkeypatch.context() as stopped:
        stopped.setattr(second_look, "write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            s4_predict.work(looks, own, shard)
    s4_predict.work(looks, own, shard)
    own.release()
    do_parts(s4_predict.stage, looks, ["0"])
    choice = read_json(looks.folder / "predict" / "oof" / "fold0" / FILE)
    assert choice["images"] == 2
    assert choice["tried"][-1]["taken"] is (choice["look"] is not None)
    complete, found = maps_of(whole, "0"), maps_of(looks, "0")
    same = [name for name in found if np.array_equal(found[name], complete[name])]
    assert len(same) >= 2

    shutil.rmtree(looks.folder / "predict")
    do_parts(s4_predict.stage, looks, ["0"])
    again = maps_of(looks, "0")
    assert all(np.abs(again[name].astype(int) - found[name]).max() <= 1 for name in found)


@pytest.mark.contract
def test_the_test_images_wait_for_no_fold_and_get_the_most_careful_choice(runs, monkeypatch):
    _, looks = runs
    made, init = [], MeanNetwork.__init__

    def told(self, config, device, states, look=None):
        made.append(look)
        init(self, config, device, states, look)

    monkeypatch.setattr(MeanNetwork, "__init__", told)
    choose_always(monkeypatch, Look(0.3, 8))
    do_parts(s4_predict.stage, looks, ["test"])
    assert made == [Look(0.3, 8)]
    monkeypatch.setattr(second_look, "_choose", None)
    do_parts(s4_predict.stage, looks, ["0", "1"])
    assert look_of_run(looks) == Look(0.3, 8)

    path = looks.folder / "predict" / "oof" / "fold1" / FILE
    write_json(path, read_json(path) | {"look": None})
    with pytest.raises(ArtifactError, match="damaged: expected SHA-256"):
        look_of_run(looks)


@pytest.mark.contract
def test_a_package_finds_what_the_run_has_submitted(runs, monkeypatch):
    _, looks = runs
    choose_always(monkeypatch, Look(0.3, 8))
    run_stages(looks, ["s4_predict", "s5_calibrate", "s6_submit"])
    monkeypatch.setattr(build, "add_wheels", lambda *_: None)
    package = build.build_package(looks, "nobody", []) / "dataset"
    assert Package.open(package).look == Look(0.3, 8)
    (data,) = Path("data").glob("demo-*")
    predict_package(package, data, Path("submission.csv"))
    sent = looks.folder / "submit" / "submission.csv"
    assert Path("submission.csv").read_bytes() == sent.read_bytes()


@pytest.mark.contract
def test_a_fold_of_few_images_is_computed_completely(runs, monkeypatch):
    whole, looks = runs
    monkeypatch.setattr(second_look, "MIN_IMAGES", 3)
    for run in runs:
        do_parts(s4_predict.stage, run, ["0", "1", "test"])
    assert look_of_run(looks) is None
    for part in ("0", "1", "test"):
        ours, theirs = maps_of(looks, part), maps_of(whole, part)
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
