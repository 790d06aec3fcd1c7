"""What a run recorded, read so that one missing or damaged file costs its own part of a page alone.

A run's folder enters; JSON, CSV and YAML leave as they were written, each read once. A file that
cannot be read raises whenever it is asked for, and is kept in `problems` for the page to name.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.load import load_stored_config, stored_values
from pipeline.config.schema import Config
from pipeline.data.catalog import SHRUNK, SIZES, Catalog, read_sizes
from pipeline.data.folds import read_folds
from pipeline.data.number_tables import read_numbers
from pipeline.errors import ArtifactError, PipelineError, explain
from pipeline.jobs.artifacts import read_json
from pipeline.jobs.job import Job
from pipeline.masks.instances import read_instances
from pipeline.masks.sizes import Sizes
from pipeline.report.task import Task

# Tables of another form than their name's ending says.
READERS: dict[str, Callable[[Path], Any]] = {
    "data/instances.csv": read_instances,
    f"data/{SHRUNK}": read_instances,
    f"data/{SIZES}": read_sizes,
    "calibrate/oof_instances.csv": read_instances,
    "split/folds.csv": read_folds,
    "config.yaml": stored_values,
}

MANIFEST_KEYS = {"stage", "metrics", "wall_s", "device"}


class Records:
    """The records of one run.

    Args:
        folder: `runs/<name>`.

    Attributes:
        problems: What is wrong with each record that was asked for in vain, by its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: dict[str, str] = {}
        self._read: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.resolve().name

    def read(self, name: str) -> Any:  # noqa: ANN401  whatever the record holds
        """Return the record `name`, a path inside the run's folder.

        Raises:
            ArtifactError: It is missing, cannot be read, or is empty.
        """
        if name in self.problems:
            raise ArtifactError(self.problems[name])
        if name not in self._read:
            try:
                self._read[name] = _read(self.folder / name, name)
            except (PipelineError, OSError) as error:
                told = explain(error) if isinstance(error, OSError) else str(error)
                self.problems[name] = told
                raise ArtifactError(told) from None
        return self._read[name]

    def find(self, name: str) -> Any | None:  # noqa: ANN401  whatever the record holds
        """Return the record, or None where it cannot be had; `problems` then says why."""
        try:
            return self.read(name)
        except ArtifactError:
            return None

    def catalog(self) -> Catalog:
        """Return the checked data, with its images where the run saw them last.

        Raises:
            PipelineError: It, or the configuration, cannot be read.
        """
        return Catalog.load(self.folder / "data", self.config.data_folder, self.task.competition)

    @cached_property
    def config(self) -> Config:
        """The run's configuration.

        Raises:
            ConfigError: It cannot be read.
        """
        return load_stored_config(self.folder / "config.yaml")

    @cached_property
    def task(self) -> Task:
        """The run's competition and metric.

        Raises:
            ConfigError: The configuration cannot be read.
        """
        return Task.of(self.config.task)

    def scores(self) -> dict[str, Any]:
        """Return `scores.json`, its figures named as `Task.neutral` does."""
        return self._neutral(self.read("calibrate/scores.json"))

    def metrics(self, stage: str) -> dict[str, Any]:
        """Return the metrics in a stage's manifest, named as `Task.neutral` does."""
        return self._neutral(self.read(f"{stage}/manifest.json")["metrics"])

    def _neutral(self, record: Any) -> dict[str, Any]:  # noqa: ANN401  any JSON value
        named: dict[str, Any] = self.task.neutral(record)
        return named

    def test_score(self) -> float | None:
        """Return the score of the test images, None where their truth is not known."""
        every = (self.task.neutral(manifest["metrics"]) for manifest in self.manifests())
        return next((each["test_score"] for each in every if "test_score" in each), None)

    def truth(self) -> pd.DataFrame:
        """Return the true objects at the masks' size: `ImageId, (ClassId,) EncodedPixels`."""
        shrunk = self.task.competition.mask_shape is not None
        return self._instances(f"data/{SHRUNK}" if shrunk else "data/instances.csv")

    def predicted(self) -> pd.DataFrame:
        """Return the out-of-fold objects, likewise."""
        return self._instances("calibrate/oof_instances.csv")

    def _instances(self, name: str) -> pd.DataFrame:
        """Leave out the class where there is one, or where they are scored together."""
        rows: pd.DataFrame = self.read(name)
        return rows if self.task.by_class else rows.drop(columns="ClassId", errors="ignore")

    def mask_sizes(self) -> Sizes:
        """Return the sizes of the training images' masks."""
        catalog = self.read("data/catalog.json")
        height, width = self.task.competition.mask_shape or (catalog["height"], catalog["width"])
        if height is not None:
            return Sizes((int(height), int(width)))
        sizes: Sizes = self.read(f"data/{SIZES}")[0]
        return sizes

    def folds(self, stage: str, name: str) -> dict[int, Any]:
        """Return the record `name` of each fold of a stage that has one, by fold."""
        named = (self.folder / stage).glob("fold*")
        folders = sorted(
            (path for path in named if path.name[4:].isdecimal()),
            key=lambda path: int(path.name[4:]),
        )
        found = {int(f.name[4:]): self.find(f"{stage}/{f.name}/{name}") for f in folders}
        return {fold: record for fold, record in found.items() if record is not None}

    def manifests(self) -> list[dict[str, Any]]:
        """Return the manifests of all finished jobs; one that is none becomes a problem."""
        places = [*self.folder.glob("*/manifest.json"), *self.folder.glob("*/fold*/manifest.json")]
        places += self.folder.glob("predict/*/**/manifest.json")
        manifests = []
        for name in sorted(str(place.relative_to(self.folder)) for place in places):
            found = self.find(name)
            if isinstance(found, dict) and set(found) >= MANIFEST_KEYS:
                manifests.append(found)
            elif found is not None:
                self.problems[name] = (
                    f"{self.folder / name}: not a job's manifest, which has the keys "
                    f"{', '.join(sorted(MANIFEST_KEYS))}. Run its stage again with --restart."
                )
        return manifests


def texts_of(table: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the RLEs of each image and class ("" for all) that has objects."""
    objects = table[table.EncodedPixels != ""]
    classes = objects.ClassId if "ClassId" in objects else [""] * len(objects)
    rows = zip(objects.ImageId, classes, objects.EncodedPixels, strict=True)
    texts: dict[tuple[str, str], list[str]] = {}
    for image_id, class_id, text in rows:
        texts.setdefault((image_id, class_id), []).append(text)
    return texts


def _read(path: Path, name: str) -> Any:  # noqa: ANN401  whatever the record holds
    if not path.is_file():
        stage = name.partition("/")[0]
        raise ArtifactError(f"{path}: missing. The stage `{stage}` writes it: run that first.")
    job = Job(name.partition("/")[0], None, path.parent, {})
    if job.writes(path.name):
        job.checked(path.name)
    if name in READERS:
        return READERS[name](path)
    try:
        if path.suffix == ".csv":
            return read_numbers(path)
    except ValueError as error:
        raise ArtifactError(f"{path}: not readable: {' '.join(str(error).split())}") from error
    return read_json(path)
