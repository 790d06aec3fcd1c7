"""What run.sh does but the report, in one process: to start one a stage takes longer than the work.

python -m tests.all_stages CONFIG [key=value ...]
"""

import importlib
import logging
import sys
from pathlib import Path

from pipeline.config.load import load_config
from pipeline.jobs.command import exit_codes
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.run import Run

STAGES = sorted(path.stem for path in Path("pipeline").glob("s[0-6]_*.py"))


def run_stages(run, names=STAGES):
    """Do all parts of some stages of a run; what is done is skipped."""
    for name in names:
        stage = importlib.import_module(f"pipeline.{name}").stage
        if isinstance(stage, PartStage):
            do_parts(stage, run, [*map(str, range(run.config.folds.count)), *stage.also])
        else:
            stage(run)


def do_parts(stage, run, names):
    """Do some parts of a stage that divides into them, one after the other, in this process."""
    for part in map(Part, names):
        own = stage.job(run, part)
        if own is not None and run.begin(own):
            stage.work(run, own, part)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    with exit_codes():
        run_stages(Run(load_config(Path(sys.argv[1]), sys.argv[2:]), restart=False))
