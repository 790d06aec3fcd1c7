"""A finished run -> its package: `dataset/` for Kaggle to hold, and the `notebook/` that uses it.

Everything is written beside the target and appears by one rename, whole or not at all.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from pipeline.config.code_file import CodeFile
from pipeline.data.catalog import Catalog
from pipeline.errors import ConfigError
from pipeline.inference.predict import trained_networks, trained_state
from pipeline.inference.second_look import look_of_run
from pipeline.jobs.artifacts import json_bytes, read_json, sha256_file, write_atomic, write_json
from pipeline.jobs.lock import Lock
from pipeline.jobs.run import Run
from pipeline.kaggle.publish import DATASET_METADATA, NOTEBOOK_METADATA
from pipeline.package.contents import (
    CONFIDENCE,
    CONFIG,
    MANIFEST,
    RULES,
    made_of,
    runs_of,
    weights_name,
)
from pipeline.package.notebook import NOTEBOOK, dataset_metadata, notebook, notebook_metadata
from pipeline.package.wheels import add_wheels

USER = r"[A-Za-z0-9][A-Za-z0-9_-]*"
LONGEST_NAME = 50


def build_package(run: Run, owner: str, wheels: Sequence[str]) -> Path:
    """Build a run's package, in place of an earlier one.

    Args:
        run: Fine-tuned on all folds, and calibrated.
        owner: The Kaggle account that will hold the dataset and the notebook.
        wheels: What to bring along beside this project's own: names or paths.

    Returns:
        The folder that holds `dataset/` and `notebook/`.

    Raises:
        ArtifactError: The run, or one that it averages, is not finished, was made for another
            configuration, or is damaged; or a wheel cannot be had.
        ConfigError: Kaggle would not take the name of the account or of the run; or `wheels` names
            something that is not here.
    """
    dataset, name = _names(owner, run.config.name)
    made_of(run)  # without them not even a lock is made
    folder = run.folder / "package"
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with Lock(run.folder / "locks" / "package", f"{run.folder}: package").take():
        _write(run, unfinished, dataset, name, wheels)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.replace(folder)
    return folder


def _write(run: Run, folder: Path, dataset: str, name: str, wheels: Sequence[str]) -> None:
    """Write `dataset/`, and the `notebook/` that knows its manifest."""
    shutil.rmtree(folder, ignore_errors=True)
    _fill_dataset(run, folder / "dataset", wheels)
    write_json(folder / "dataset" / DATASET_METADATA, dataset_metadata(dataset))
    slug = run.config.slug
    manifest_sha256 = sha256_file(folder / "dataset" / MANIFEST)
    cells = notebook(run.config.name, dataset, slug, manifest_sha256)
    write_json(folder / "notebook" / NOTEBOOK, cells)
    metadata = notebook_metadata(name, dataset, slug)
    write_json(folder / "notebook" / NOTEBOOK_METADATA, metadata)


def _names(owner: str, run: str) -> tuple[str, str]:
    """Return the names of the dataset and the notebook, as in their addresses."""
    if not re.fullmatch(USER, owner):
        raise ConfigError(
            f"--push {owner}: expected the name of a Kaggle account, as in "
            "https://www.kaggle.com/NAME."
        )
    slug = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    dataset, name = f"{slug}-package", f"{slug}-submit"
    if len(dataset) > LONGEST_NAME:
        raise ConfigError(
            f"name: {run}: the dataset {dataset} would have {len(dataset)} letters, and Kaggle "
            f"allows {LONGEST_NAME}. Choose a shorter name for the run."
        )
    return f"{owner}/{dataset}", f"{owner}/{name}"


def _fill_dataset(run: Run, folder: Path, wheels: Sequence[str]) -> None:
    """Write weights, rules, configuration and wheels, and at last the manifest."""
    for name, content in contents(run):
        write_atomic(folder / name, content)
    add_wheels(folder, wheels)
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, manifest(run, files))


def contents(run: Run) -> Iterator[tuple[str, bytes]]:
    """Yield what predicts, as names and bytes: weights, configuration, a network's code, rules.

    Raises:
        ArtifactError: The run, or one that it averages, is not finished, or damaged.
    """
    calibrated = run.result("calibrate")
    for prefix, each in runs_of(run):
        yield f"{prefix}{CONFIG}", (each.folder / "config.yaml").read_bytes()
        if each.config.predict.ensemble is not None:
            continue
        for fold, source in enumerate(trained_networks(each)):
            # Training leaves kernels with the channels last, which the format does not know.
            state = {name: value.contiguous() for name, value in trained_state(source).items()}
            yield f"{prefix}{weights_name(fold)}", save(state)
        file = CodeFile.named(each.config.network.arch)
        if file is not None:
            yield f"{prefix}{file.path.name}", file.read()
    rules = read_json(calibrated.checked("rules.json"))
    yield RULES, json_bytes(rules.get("rules", rules))  # with several classes, all of them
    if calibrated.writes(CONFIDENCE):
        yield CONFIDENCE, calibrated.checked(CONFIDENCE).read_bytes()


def manifest(run: Run, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what a package's manifest says, given the SHA-256 of its files."""
    height, width = Catalog.of(run).sizes.largest
    (_, look), *looks = ((prefix, _look(each)) for prefix, each in runs_of(run))
    return {
        "run": run.config.name,
        "look": look,
        **({"looks": dict(looks)} if looks else {}),
        "height": height,
        "width": width,
        "made_of": made_of(run),
        "files": files,
    }


def _look(run: Run) -> dict[str, Any] | None:
    look = None if run.config.predict.ensemble is not None else look_of_run(run)
    return None if look is None else asdict(look)
