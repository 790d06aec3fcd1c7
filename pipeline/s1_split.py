"""Stage 1: grouped folds, no scene in two of them.

Reads the checked data. Writes `folds/<data>.csv` (ImageId, group, stratum, fold) and a .json with
the rule and the balance, once: from then on the file is the truth, and one that does not fit the
data or the configuration is an error. `runs/<name>/split/folds.csv` is the copy later stages read.
"""

import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data.catalog import Catalog
from pipeline.errors import DataError
from pipeline.jobs.artifacts import sha256_file, write_atomic
from pipeline.jobs.command import run_stage
from pipeline.jobs.run import Run
from pipeline.networks.before_work import check_before_work

LOG = logging.getLogger("pipeline.s1_split")


def stage(run: Run) -> None:
    """Make the folds, or take those made or given before, after the same checks."""
    check_before_work(run)
    config = run.config
    data = run.result("data")
    path = config.folds.file or Path("folds") / f"{config.data.name}.csv"
    if config.folds.file is None and not path.is_file():
        _make(run, Catalog.load(data.folder), path)
    if not path.is_file():
        raise DataError(f"{path}: folds.file names no file. Correct the path, or set it to null.")
    # The file's bytes are an input: a changed file never passes for the one the run was made with.
    job = run.job("split", sections=("folds",), inputs=[data], files={"folds": sha256_file(path)})
    if not run.begin(job):
        return
    from pipeline.data.folds import balance_table, check_folds, read_folds

    catalog = Catalog.load(data.folder)
    folds = read_folds(path)
    # A split of the user's own is held to the scenes that the pixels show, not only to its groups.
    overlap_groups = None if config.folds.file is None else _groups(run, catalog)
    check_folds(
        folds,
        catalog.train_ids,
        config.folds.count,
        source=str(path),
        overlap_groups=overlap_groups,
    )
    write_atomic(job.folder / "folds.csv", path.read_bytes())
    balance = balance_table(folds, catalog.instances)
    heads = [str(name).removeprefix("ships_").removesuffix("_images") for name in balance]
    LOG.info("split: %s\n%s", path, balance.to_string(index=False, header=heads))
    job.finish(["folds.csv"], {"balance": balance.to_dict("records")})


def _make(run: Run, catalog: Catalog, path: Path) -> None:
    from pipeline.data.folds import make_folds, write_folds

    count, seed = run.config.folds.count, run.config.seed
    groups = _groups(run, catalog)
    folds = make_folds(catalog.train_ids, groups, catalog.instances, folds=count, seed=seed)
    write_folds(path, folds, catalog.instances, seed=seed)


def _groups(run: Run, catalog: Catalog) -> npt.NDArray[np.int64]:
    from pipeline.data.overlaps import find_groups

    ids = catalog.train_ids
    return find_groups(
        [catalog.train_path(image_id) for image_id in ids],
        ids,
        jobs=os.cpu_count() or 1,
        signatures_path=Path("data") / ".signatures" / run.config.data.name,
    )


if __name__ == "__main__":
    run_stage(stage, description=__doc__)
