"""An average of runs in a model file and in a package: both find what the run itself submits."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from all_stages import run_stages

import pipeline
from pipeline import load_model
from pipeline.commands._runs import open_run
from pipeline.config.schema import Ensemble
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.jobs.run import Run
from pipeline.masks.instances import read_instances
from pipeline.package import build, model_file
from pipeline.package.contents import Package
from pipeline.package.predict import predict_package
from pipeline.windows.pixels import Picture

pytestmark = pytest.mark.contract
STORED = Path(__file__).parents[1] / "stored_runs" / pipeline.__version__
AVERAGES = {
    "both": Ensemble(runs=["tiny", "other"], mean="logit"),
    "nested": Ensemble(runs=["both", "tiny"], mean="probability"),
}


def renamed(run, name, **predict):
    settings = run.config.predict.model_copy(update=predict)
    config = run.config.model_copy(update={"name": name, "predict": settings})
    return Run(config, restart=False)


@pytest.fixture(scope="module", autouse=True)
def _averaged(tmp_path_factory):
    """Go to a folder with the runs `tiny`, `other`, which predicts otherwise, and AVERAGES."""
    folder = tmp_path_factory.mktemp("averaged") / "home"
    shutil.copytree(STORED, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("pipeline.calibration.confidence.MIN_OBJECTS", 4)
        tiny = open_run("tiny")
        other = renamed(tiny, "other", tta="none", floor=0.3)
        for stage in ("data", "split", "train", "finetune"):
            shutil.copytree(tiny.folder / stage, other.folder / stage)
        shutil.copy(tiny.folder / "config.yaml", other.folder)
        run_stages(other, ["s4_predict"])
        for name, ensemble in AVERAGES.items():
            run_stages(
                renamed(tiny, name, ensemble=ensemble),
                ["s0_data", "s1_split", "s4_predict", "s5_calibrate", "s6_submit"],
            )
        yield


def submitted(name):
    return read_instances(Path("runs") / name / "submit" / "submission.csv")


@pytest.mark.parametrize(("name", "networks"), [("both", 4), ("nested", 6)])
def test_a_model_file_finds_what_the_run_submits(name, networks, tmp_path):
    model_file.export_model(open_run(name), tmp_path / "a.zip")
    model_file.export_model(open_run(name), tmp_path / "b.zip")
    assert sha256_file(tmp_path / "a.zip") == sha256_file(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        said = json.loads(archive.read("manifest.json"))
        card = archive.read("card.md").decode()
    assert said["format"] == 2
    assert sum(each.endswith(".safetensors") for each in said["files"]) == networks
    assert "objects found are true; Brier score" in card
    assert f"average of 2 runs, by {AVERAGES[name].mean}" in card
    sent = submitted(name)
    assert not sent.equals(submitted("tiny"))
    assert (sent.EncodedPixels != "").sum() > 5
    model = load_model(tmp_path / "a.zip", device="cpu")
    pictures = {path.name: path for path in Path("data").glob("*/test_v2/*")}
    assert {*pictures} == {*sent.ImageId}
    for image_id, path in pictures.items():
        found = model.predict(cv2.imread(str(path))[..., ::-1])
        assert all(0 < one.confidence < 1 for one in found)
        expected = sent.EncodedPixels[sent.ImageId == image_id].tolist()
        assert [one.rle for one in found] == [text for text in expected if text]
    large_hwc = np.tile(cv2.imread(str(path)), (2, 2, 1))[:150, :, ::-1]
    maps, _ = model.look(Picture("large", large_hwc))
    assert maps["ship"].prob_hw.shape == large_hwc.shape[:2]


def test_a_package_predicts_what_the_run_submits(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "add_wheels", lambda *_: None)
    package = build.build_package(open_run("nested"), "nobody", []) / "dataset"
    (data,) = Path("data").glob("demo-*")
    predict_package(package, data, tmp_path / "submission.csv")
    pd.testing.assert_frame_equal(read_instances(tmp_path / "submission.csv"), submitted("nested"))


def test_one_fold_of_an_average_is_that_of_each_run():
    one = Package.of_run(open_run("nested")).of_fold(1)
    both, tiny = one.members
    assert [len(each.weights) for each in (*both.members, tiny)] == [1, 1, 1]
    whole = Package.of_run(open_run("tiny"))
    assert next(tiny.states()).keys() == whole.weights[1]().keys()
    with pytest.raises(ConfigError, match=r"run nested: .* maps of both, tiny\. Give one of them"):
        next(one.states())


def test_a_member_that_is_not_finished_is_told(tmp_path, monkeypatch):
    shutil.copytree("runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    Path("runs/other/finetune/fold1/manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"other.*finetune fold 1 is not finished"):
        model_file.export_model(open_run("both"), tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
