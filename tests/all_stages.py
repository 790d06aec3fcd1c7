"""What run.sh does but the report, in one process: to start one a stage takes longer than the work.

That process is forked from a server that has imported torch, and works in a checkout of its own.
"""

import importlib
import logging
import multiprocessing
import os
import sys
from pathlib import Path

from pipeline.config.load import load_config
from pipeline.jobs.parts import PartStage
from pipeline.jobs.run import Run

STAGES = sorted(path.stem for path in Path("pipeline").glob("s[0-6]_*.py"))
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *(f"pipeline.{stage}" for stage in STAGES),
        *("pipeline.training.loop", "pipeline.inference.predict", "pipeline.calibration.calibrate"),
        *("pipeline.data.augment", "albumentations", "sklearn.ensemble"),
    ]
)


def run_stages(run, names=STAGES):
    """Do all parts of some stages of a run; what is done is skipped."""
    for name in names:
        stage = importlib.import_module(f"pipeline.{name}").stage
        if isinstance(stage, PartStage):
            stage(run, [*map(str, range(run.config.folds.count)), *stage.also])
        else:
            stage(run)


def start(folder, environment, log, config, *overrides):
    """Start all stages of a configuration in `folder`, and send what they print to `log`."""
    process = SERVER.Process(target=_work, args=(folder, environment, log, config, overrides))
    process.start()
    return process


def _work(folder, environment, log, config, overrides):
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    run_stages(Run(load_config(Path(config), list(overrides)), restart=False))
