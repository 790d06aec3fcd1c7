"""Stage 1: K folds in which no scene stands on two sides.

Reads the checked data. Writes `folds/<data>.csv` (ImageId, group, stratum, fold) and its .json with
the rule and the balance, once: from then on the file is the truth, and one that no longer fits the
data is an error. Keeps a copy in `runs/<name>/split/`, which the later stages read.
"""

import logging
import os
from pathlib import Path

from pipeline.artifacts import sha256_file, write_atomic
from pipeline.command import run_stage
from pipeline.data.catalog import Catalog
from pipeline.run import Run

LOG = logging.getLogger("pipeline.s1_split")


def stage(run: Run) -> None:
    """Make the folds, or take those that were made or given before, after the same checks."""
    config = run.config
    data = run.result("data")
    path = config.folds.file or Path("folds") / f"{config.data.name}.csv"
    files = {str(path): sha256_file(path)} if path.is_file() else {}
    if not files:
        from pipeline.data.folds import ...


if __name__ == "__main__":
    run_stage(stage, description=__doc__)
