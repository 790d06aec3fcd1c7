"""A dataset and a notebook up, private, each as a new version where it is there already.

A dataset's files are sent one by one, and count for nothing until the one call that names them. If
its reply is lost, the version number tells whether it took effect.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.jobs.artifacts import read_json
from pipeline.kaggle.client import PATIENCE, KaggleClient, Patience
from pipeline.kaggle.failures import KaggleError

LOG = logging.getLogger(__name__)
DATASET_METADATA, NOTEBOOK_METADATA = "dataset-metadata.json", "kernel-metadata.json"


def publish_dataset(folder: Path, *, patience: Patience = PATIENCE) -> str:
    """Send the files of `folder`, and wait until Kaggle can mount them.

    Args:
        folder: Holds files only; `dataset-metadata.json` says in `id` which `USER/NAME` it is.
        patience: Deadlines and number of attempts.

    Returns:
        The dataset's address.

    Raises:
        ArtifactError: The metadata cannot be read.
        KaggleError: Kaggle refused a call, failed, stayed silent, or could not take the files in.
    """
    metadata = read_json(folder / DATASET_METADATA)
    name = metadata["id"]
    address, doing = f"https://www.kaggle.com/datasets/{name}", f"sending the dataset {name}"
    with KaggleClient(name, patience) as kaggle:
        before = _dataset(kaggle)["version"]
        tokens = []
        for path in sorted(path for path in folder.iterdir() if path.name != DATASET_METADATA):
            LOG.info("sending %s (%.1f MiB)", path.name, path.stat().st_size / 2**20)
            tokens.append(kaggle.upload("start_file", path, f"{doing}, {path.name}"))
        objection = kaggle.call(
            "save_dataset",
            doing,
            landed=lambda: _within(
                kaggle, patience.settle_s, lambda: _dataset(kaggle)["version"] > before
            ),
            metadata=metadata,
            tokens=tokens,
            new=before == 0,
        )
        _stop_at(objection, doing, address)
        LOG.info("%s: waiting until Kaggle has taken it in", address)
        _wait_until_ready(kaggle, before, doing, address)
    return address


def _dataset(kaggle: KaggleClient) -> dict[str, Any]:
    slug = kaggle.slug
    state: dict[str, Any] = kaggle.call("dataset_state", f"looking at {slug}", slug=slug)
    return state


def _wait_until_ready(kaggle: KaggleClient, before: int, doing: str, address: str) -> None:
    """Wait for a version above `before`: a notebook that starts earlier gets the old one."""
    state: dict[str, Any] = {}

    def settled() -> bool:
        state.update(_dataset(kaggle))
        return state["version"] > before and state["status"] in {"ready", "failed"}

    if not _within(kaggle, kaggle.patience.score_s, settled) or state["status"] == "failed":
        raise KaggleError(
            f"Kaggle, {doing}: the files are there, but the dataset is {state['status']!r} in "
            f"version {state['version']}, expected 'ready' in a version above {before}. Look at "
            f"{address}, then run the same command again."
        )


def publish_notebook(folder: Path, *, patience: Patience = PATIENCE) -> str:
    """Send the notebook in `folder`, which makes it run.

    Args:
        folder: Holds `kernel-metadata.json`, whose `id` is `USER/NAME`, and the notebook.
        patience: Deadlines and number of attempts.

    Returns:
        The notebook's address.

    Raises:
        ArtifactError: The metadata cannot be read.
        KaggleError: Kaggle refused a call, failed or stayed silent.
    """
    name = read_json(folder / NOTEBOOK_METADATA)["id"]
    address, doing = f"https://www.kaggle.com/code/{name}", f"sending the notebook {name}"
    with KaggleClient(name, patience) as kaggle:
        before = _notebook_version(kaggle)
        objection = kaggle.call(
            "save_notebook",
            doing,
            landed=lambda: _within(
                kaggle, patience.settle_s, lambda: _notebook_version(kaggle) > before
            ),
            folder=str(folder),
        )
    _stop_at(objection, doing, address)
    return address


def _notebook_version(kaggle: KaggleClient) -> int:
    slug = kaggle.slug
    return int(kaggle.call("notebook_version", f"looking at {slug}", slug=slug))


def _within(kaggle: KaggleClient, limit_s: float, good: Callable[[], bool]) -> bool:
    """Look until it is good, or `limit_s` have passed."""
    end = time.monotonic() + limit_s
    while not good():
        if time.monotonic() >= end:
            return False
        time.sleep(min(kaggle.patience.poll_s, limit_s))
    return True


def _stop_at(objection: str | None, doing: str, address: str) -> None:
    if objection:
        raise KaggleError(
            f"Kaggle, {doing}: {objection.rstrip('. ')}. Correct that, look at {address}, then run "
            "the same command again."
        )
