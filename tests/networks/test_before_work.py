"""What cannot work is told before anything is downloaded, rendered or checked."""

import importlib.util
from pathlib import Path

import pytest
import torch

from pipeline import s0_data, s1_split
from pipeline.config.load import as_stored, load_config
from pipeline.errors import ConfigError, PipelineError
from pipeline.jobs.run import Run
from pipeline.networks import before_work, check
from pipeline.networks.before_work import check_before_work

pytestmark = pytest.mark.unit

TINY = Path("tests/tiny.yaml").resolve()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that configures a run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *overrides: Run(load_config(TINY, list(overrides)), restart=False)


def store(run):
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text(as_stored(run.config))


def section(arch, encoder, weights="none", **options):
    return f"network={{arch: {arch}, encoder: {encoder}, weights: {weights}, options: {options}}}"


@pytest.mark.parametrize("stage", [s0_data.stage, s1_split.stage], ids=["data", "split"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("folds.file=none.csv", r"folds\.file: none\.csv: there is no such file"),
        ("data.test_truth=none.csv", r"data\.test_truth: none\.csv: there is no such file"),
        (section("unet", "resnet43"), "unknown encoder 'resnet43'. Did you mean 'resnet34'"),
        (section("unet", "tu-resnet1O"), "timm has no network 'resnet1O'. Did you mean"),
        (section("dpt", "resnet18"), "dpt cannot be built with encoder 'resnet18'"),
        (section("fpn", "resnet18", upsampling=2), r"3, 64, 64\) into \(1, 1, 32, 32\)"),
        (section("unet", "resnet18", decoder_channels=[8]), "you provide `decoder_channels` for 1"),
        (
            section("unet", "tu-gcvit_xxtiny", img_size=64),
            r"tu-gcvit_xxtiny .* cannot take images of 96 x 96 px: .* at most 64 x 64 px, padded "
            r"to that\. Set an encoder .* resnet34 .*; or network\.options\.img_size=96",
        ),
        (section("unet", "tu-legacy_xception"), "not padded.* stride 2 are .* out of register"),
        (section("fpn", "dpn68b", "imagenet"), "there are no such weights for encoder dpn68b"),
        (section("fpn", "resnet18", "text.pt"), "text.pt: cannot read weights"),
        (section("fpn", "resnet18", "other.pt"), "network.weights: other.pt.* does not fit"),
        ("crops.hard_run=none", "crops.hard_run: none: expected another run"),
        ("predict.ensemble={runs: [known, none], mean: logit}", "ensemble.runs: none: expected"),
        ("machine.tensorboard=true", "machine.tensorboard: true: TensorBoard is not installed"),
    ],
)
def test_what_cannot_work_is_told_first_and_leaves_nothing(
    run, monkeypatch, stage, override, message
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        *(importlib.util, "find_spec"),
        lambda name, *rest: None if name == "tensorboard" else find_spec(name, *rest),
    )
    store(run("name=known"))
    Path("text.pt").write_text("no weights")
    torch.save({"conv1.weight": torch.zeros(1)}, "other.pt")
    before = {*Path().rglob("*")}
    with pytest.raises(PipelineError, match=message):
        stage(run("crops.size_px=64", override))
    assert {*Path().rglob("*")} == before


def test_all_is_well_without_a_download(run, monkeypatch):
    monkeypatch.setattr("pipeline.networks.weights.imagenet_file", None)
    check_before_work(run(section("fpn", "resnet18", "imagenet"), "crops.size_px=auto"))


def test_a_network_is_built_once_and_never_for_a_run_that_is_trained(run, monkeypatch):
    built = []
    monkeypatch.setattr(check, "check_network", lambda *given, **_: built.append(given))
    one = run("crops.size_px=1024")
    check_before_work(one)
    assert built == [(one.config.network, 1, 1024, [(96, 96)])]
    store(one)
    check_before_work(run("crops.size_px=1024", "seed=5", "machine.device=cpu"))
    assert len(built) == 1
    other = run("crops.size_px=1025")
    check_before_work(other)
    assert built[1:] == [(one.config.network, 1, 1025, [(96, 96)])]
    (one.folder / "config.yaml").write_text("damaged: [")
    check_before_work(other)
    assert len(built) == 3
    monkeypatch.setattr(before_work, "check_tensorboard", None)
    trained = one.folder / "train" / "fold0"
    trained.mkdir(parents=True)
    (trained / "manifest.json").touch()
    check_before_work(run("machine.tensorboard=true", section("fpn", "resnet18")))
    assert len(built) == 3
    with pytest.raises(ConfigError, match=r"crops\.hard_run"):
        check_before_work(run("crops.hard_run=none"))
