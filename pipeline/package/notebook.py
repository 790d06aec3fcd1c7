"""The notebook that predicts from a package without internet, and what tells Kaggle how to run it.

It knows the SHA-256 of its package's manifest, so that it never runs on another version of the
dataset. All it does beyond checking and installing is in `pipeline.package.predict`.
"""

import inspect
from typing import Any

from pipeline.package.contents import find_damage

NOTEBOOK = "submit.ipynb"

TEXT = """\
# {run}: the submission, without internet
Made by `python -m pipeline.commands.build_package`. It needs the competition's data and the dataset
`{dataset}`, and writes `submission.csv`, which can be submitted from this notebook's output."""

FIND = """\
import hashlib, importlib, json, logging, subprocess, sys
from pathlib import Path

INPUT, OUTPUT = Path("/kaggle/input"), Path("/kaggle/working/submission.csv")
MANIFEST_SHA256 = "{manifest_sha256}"

# Kaggle mounts a dataset and a competition at one of two depths.
packages = [
    path.parent
    for pattern in ("*/manifest.json", "datasets/*/*/manifest.json")
    for path in INPUT.glob(pattern)
    if hashlib.sha256(path.read_bytes()).hexdigest() == MANIFEST_SHA256
]
if not packages:
    raise RuntimeError(
        f"{{INPUT}}: no manifest.json with SHA-256 {{MANIFEST_SHA256[:12]}}. Add the dataset "
        "{dataset} to this notebook, in the version that belongs to it."
    )
PACKAGE = packages[0]
data = [INPUT / "{slug}", INPUT / "competitions" / "{slug}"]
DATA = next((path for path in data if path.is_dir()), None)
if DATA is None:
    raise RuntimeError(f"{{INPUT}}: no data of {slug}. Add the competition to this notebook.")
print(PACKAGE, DATA)"""

CHECK = """\
{find_damage}

problems = find_damage(PACKAGE)
if problems:
    raise RuntimeError("the package is damaged: " + "; ".join(problems))"""

INSTALL = """\
files = json.loads((PACKAGE / "manifest.json").read_text(encoding="utf-8"))["files"]
wheels = [str(PACKAGE / name) for name in files if name.endswith(".whl")]
pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--force-reinstall"]
subprocess.run([*pip, *wheels], check=True)
importlib.invalidate_caches()"""

PREDICT = """\
logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
logging.getLogger("pipeline").setLevel(logging.INFO)

from pipeline.package.predict import predict_package

predict_package(PACKAGE, DATA, OUTPUT)"""


def notebook(run: str, dataset: str, slug: str, manifest_sha256: str) -> dict[str, Any]:
    """Return the notebook as JSON.

    Args:
        run: Name of the run.
        dataset: `USER/NAME` of the dataset that holds its package.
        slug: The competition.
        manifest_sha256: Of the package's manifest.
    """
    texts = (
        FIND.format(manifest_sha256=manifest_sha256, dataset=dataset, slug=slug),
        CHECK.format(find_damage=inspect.getsource(find_damage)),
        INSTALL,
        PREDICT,
    )
    heading = TEXT.format(run=run, dataset=dataset)
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": heading}]
    cells += [
        {"cell_type": "code", "source": text, "execution_count": None, "outputs": []}
        for text in texts
    ]
    for number, cell in enumerate(cells):
        cell |= {"id": f"cell-{number}", "metadata": {}}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def dataset_metadata(dataset: str) -> dict[str, Any]:
    """Return what Kaggle's client reads beside the package, for a private dataset `USER/NAME`."""
    title = dataset.partition("/")[2]
    return {"id": dataset, "title": title, "licenses": [{"name": "other"}]}


def notebook_metadata(name: str, dataset: str, slug: str) -> dict[str, Any]:
    """Return what Kaggle's client reads beside the notebook `USER/NAME`: private, GPU, no internet.

    The title is the name, since Kaggle makes a notebook's address of its title.
    """
    return {
        "id": name,
        "title": name.partition("/")[2],
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [dataset],
        "competition_sources": [slug],
        "kernel_sources": [],
        "model_sources": [],
    }
