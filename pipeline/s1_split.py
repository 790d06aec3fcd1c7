"""Stage 1: grouped folds, no scene in two of them.

Reads the checked data, and what they say of groups themselves: `groups.csv` (ImageId, group) in
the data folder, if it is there. Writes `folds/<data>.csv` (ImageId, group, stratum, fold) and a
.json with the rule and the balance, once: from then on the file is the truth, and one that does not
fit the data is an error. Another folds.count gets a file of its own. `runs/<name>/split/folds.csv`
is the copy that later stages read.
"""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data.catalog import Catalog
from pipeline.data.extra import check_folds_of_extra
from pipeline.data.own_groups import groups_file, read_own_groups
from pipeline.jobs.artifacts import read_json, sha256_file, write_atomic
from pipeline.jobs.command import run_stages
from pipeline.jobs.job import MANIFEST
from pipeline.jobs.lock import Lock
from pipeline.jobs.run import Run
from pipeline.networks.before_work import check_before_work

LOG = logging.getLogger("pipeline.s1_split")


def stage(run: Run) -> None:
    """Make the folds, or take those made or given before, after the same checks."""
    check_before_work(run)
    config = run.config
    data = run.result("data")
    path = config.folds.file or _made(run)
    # The file's bytes are an input: a changed file never passes for the one the run was made with.
    content = path.read_bytes()
    files = {"folds": hashlib.sha256(content).hexdigest()}
    if (own := groups_file(config.data_folder)) is not None:
        files["groups"] = sha256_file(own)
    check_folds_of_extra(config, files["folds"])
    job = run.job("split", sections=("folds",), inputs=[data], files=files)
    if not run.begin(job):
        return
    from pipeline.data.folds import balance_table, check_folds, read_folds

    catalog = Catalog.of(run)
    folds = read_folds(path)
    # A split of the user's own is held to the scenes that the pixels show, not only to its groups.
    overlap_groups = None if config.folds.file is None else _groups(run, catalog)
    check_folds(
        folds,
        catalog.train_ids,
        config.folds.count,
        source=str(path),
        overlap_groups=overlap_groups,
        own_groups=None if own is None else read_own_groups(own, catalog),
    )
    write_atomic(job.folder / "folds.csv", content)
    balance = balance_table(folds, catalog.instances)
    words = {"ship_images": "filled", "ships": "objects", "empty_images": "empty"}
    heads = [words.get(str(name), str(name).removeprefix("ships_")) for name in balance]
    LOG.info("split: %s\n%s", path, balance.to_string(index=False, header=heads))
    job.finish(["folds.csv"], {"balance": balance.to_dict("records")})


def _made(run: Run) -> Path:
    """Return the folds made for these images, wherever they lay then; make them if there are none.

    The first are called as the data is; of other folds the name says how many they are.
    """
    if not run.restart and (run.folder / "split" / MANIFEST).is_file():
        run.result("split")  # another folds.count is refused before anything is made
    name, count = run.config.data_name, run.config.folds.count
    first = Path("folds") / f"{name}.csv"
    record = first.with_suffix(".json")
    known = read_json(record) if record.is_file() else None
    made = known.get("folds") if isinstance(known, dict) else None
    if first.is_file() and (not isinstance(made, int) or made == count):
        return first
    from pipeline.data.folds import find_folds, make_folds, write_folds
    from pipeline.data.grouping import unite_groups

    catalog = Catalog.of(run)
    ids, truth = catalog.train_ids, catalog.instances
    own = groups_file(run.config.data_folder)
    groups_sha256 = None if own is None else sha256_file(own)
    known = find_folds(first.parent, ids, truth, count, groups_sha256=groups_sha256)
    if known is not None:
        LOG.info("split: %s has the folds of these images", known)
        return known
    path = first.with_stem(f"{name}-{count}-folds") if first.is_file() else first
    with Lock(path.with_name(f".{path.name}.lock"), str(path)).take(wait=True):
        if not path.is_file():
            seed = run.config.seed
            groups = _groups(run, catalog)
            if own is not None:
                groups = unite_groups(groups, read_own_groups(own, catalog))
            folds = make_folds(ids, groups, truth, folds=count, seed=seed)
            write_folds(path, folds, truth, seed=seed, groups_sha256=groups_sha256)
    return path


def _groups(run: Run, catalog: Catalog) -> npt.NDArray[np.int64]:
    from pipeline.data.scenes import find_groups_by_size
    from pipeline.data.signature_store import STORES

    ids = catalog.train_ids
    return find_groups_by_size(
        [catalog.train_path(image_id) for image_id in ids],
        ids,
        catalog.sizes,
        jobs=os.cpu_count() or 1,
        signatures_path=STORES / run.config.images_name,
        reading=run.config.task.reading,
    )


if __name__ == "__main__":
    run_stages("s1_split")
