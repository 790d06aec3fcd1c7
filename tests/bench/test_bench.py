"""Every benchmark starts, at its smallest size; what it measures then is not looked at."""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from all_stages import run_stages

from pipeline import s7_report
from pipeline.commands._runs import open_run
from pipeline.config.load import load_config
from pipeline.jobs.run import Run
from pipeline.training import batches
from tests.bench import trials
from tests.report.browser import CHROMIUM, DRIVER

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "stored_runs" / "0.2.0"
NEEDS = {
    "encoders": ["--table", "encoders.csv", "--page", "encoders.md"],
    "faults": ["configurations"],  # the others start processes for minutes
    "demo_statistics": ["data/demo-b6d8e587"],
    "picture": ["--run", "tiny", "--out", "picture.jpg"],
    "predict": ["runs/tiny"],
    "scenes": ["runs/tiny"],
    "screenshot": ["--run", "tiny", "--out", "screenshot.png"],
    "ships": ["24"],
    "stages": ["runs/losses-bce-0"],
    "losses": ["--out", "losses.md"],
    "networks": ["--out", "networks.md"],
}
TINY = ["data.demo.tile_px=96", "data.demo.train_tiles=16", "data.demo.test_tiles=2"]
TINY += [
    "calibrate.candidate_selection=null",
    "train.validation_images=2",
    "finetune.validation_images=2",
    "machine.threads=1",
]
STAGES_TO_CALIBRATE = sorted(path.stem for path in Path("pipeline").glob("s[0-5]_*.py"))
MODULES = {path.stem for path in Path(__file__).parent.glob("*.py")}
BENCHMARKS = sorted(MODULES - {"test_bench", "test_gpu", "trials", "sizes", "machine"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a finished run."""
    folder = shutil.copytree(STORED, tmp_path_factory.mktemp("bench") / "project")
    shutil.copytree(ROOT / "configs", folder / "configs")
    return folder


def in_this_process(config, *arguments):
    overrides = [one for one in arguments if "=" in one]
    run_stages(Run(load_config(config, [*overrides, *TINY]), restart=False), STAGES_TO_CALIBRATE)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_starts(name, folder, monkeypatch, capsys):
    if name in {"report", "screenshot"} and not (CHROMIUM.exists() and DRIVER.exists()):
        assert os.environ.get("CI") != "true", "no Chromium"
        pytest.skip("no Chromium")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SMALL", "1")
    monkeypatch.setattr(trials, "run_stages", in_this_process)
    # A benchmark changes it for good.
    monkeypatch.setattr(batches, "STATISTICS_CROPS", batches.STATISTICS_CROPS)
    monkeypatch.setattr(sys, "argv", [name, *NEEDS.get(name, [])])
    if name == "screenshot":
        s7_report.stage(open_run("tiny"))
    threads = torch.get_num_threads()
    try:
        importlib.import_module(f"tests.bench.{name}").main()
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out


def test_the_table_names_every_benchmark():
    here = Path(__file__).parent
    table = (here / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in here.glob("*/__main__.py")}
    scripts = {path.stem for path in here.glob("*.sh")}
    modules = {*BENCHMARKS, *folders - scripts}
    assert set(re.findall(r"python -m tests\.bench\.([a-z_]+)", table)) == modules
    assert set(re.findall(r"tests/bench/([a-z_]+)\.sh", table)) == scripts
