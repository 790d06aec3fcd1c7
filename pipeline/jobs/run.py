"""The run folder `runs/<name>/` and the manifests that say what in it is done.

A job is one stage, or one fold of one stage. Its manifest is written last, and names the
configuration, the inputs and the outputs it stands for. Present and matching: done. Absent: not
done. Different: an error that names the difference. Nothing else decides whether work is skipped.
"""

import hashlib
import json
import logging
import platform
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.schema import Config
from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import read_json, sha256_file, write_atomic, write_json

__all__ = ["Job", "Run"]

LOG = logging.getLogger(__name__)
MANIFEST = "manifest.json"
LIBRARIES = (
    "torch",
    "segmentation-models-pytorch",
    "albumentations",
    "numpy",
    "opencv-python-headless",
)


@dataclass
class Job:
    """One unit of work that is done or not done, in a folder of its own.

    Attributes:
        stage: The stage's name, which is also its folder's.
        fold: The fold, or None for a stage that is not per fold.
        folder: Where the outputs and the manifest lie.
        wanted: What the manifest must say: configuration sections and the inputs' identities.
    """

    stage: str
    fold: int | None
    folder: Path
    wanted: dict[str, Any]
    started: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        """The job as messages name it, `train fold 0`."""
        return self.stage if self.fold is None else f"{self.stage} fold {self.fold}"

    @property
    def owner(self) -> str:
        """SHA-256 that marks unfinished state as this job's: what it must stand for when done."""
        return hashlib.sha256(json.dumps(self.wanted, sort_keys=True).encode()).hexdigest()

    @property
    def restart_hint(self) -> str:
        """What a user can do about a job that cannot be taken as it is."""
        stage = self.stage.partition("/")[0]
        return f"Start it over with `--from {stage} --restart`, or choose another `name=`."

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished job.

        Raises:
            ArtifactError: The job has not been finished.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            raise ArtifactError(
                f"{path}: missing, so {self.label} is not finished. Run that stage first."
            )
        manifest: dict[str, Any] = read_json(path)
        return manifest

    @property
    def identity(self) -> str:
        """SHA-256 of what the finished job stands for, not of when and where it ran."""
        manifest = self.manifest
        known = {
            key: manifest[key]
            for key in ("stage", "fold", "seed", "config", "inputs", "files", "outputs")
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def is_done(self) -> bool:
        """Tell whether the job is finished; its outputs are then present and of the right size.

        Raises:
            ArtifactError: It was finished for another configuration or from other inputs, or an
                output is missing or was changed.
        """
        if not (self.folder / MANIFEST).is_file():
            return False
        manifest = self.manifest
        differences = _differences(self.wanted, {key: manifest.get(key) for key in self.wanted}, "")
        if differences:
            raise ArtifactError(
                f"{self.folder}: finished for something else: {'; '.join(differences[:5])}. "
                f"{self.restart_hint}"
            )
        for name, output in manifest["outputs"].items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != output["bytes"]:
                found = f"{path.stat().st_size} bytes" if path.is_file() else "no file"
                raise ArtifactError(
                    f"{path}: expected the {output['bytes']} bytes that {self.label} wrote, found "
                    f"{found}. {self.restart_hint}"
                )
        LOG.info("%s: done before", self.label)
        return True

    def checked(self, name: str) -> Path:
        """Return the path of an output after comparing its bytes with the manifest.

        Raises:
            ArtifactError: The job is not finished or the file is not what it wrote.
        """
        path = self.folder / name
        expected = self.manifest["outputs"][name]["sha256"]
        found = sha256_file(path) if path.is_file() else "no file"
        if found != expected:
            raise ArtifactError(
                f"{path}: damaged: expected SHA-256 {expected[:12]}, found {found[:12]}. "
                f"{self.restart_hint}"
            )
        return path

    def finish(self, outputs: list[str], metrics: dict[str, Any], device: str = "cpu") -> None:
        """Write the manifest: from now on the job is done.

        Args:
            outputs: File names relative to the folder, all complete.
            metrics: What the job measured, JSON values.
            device: What it ran on.
        """
        wall_s = time.monotonic() - self.started
        write_json(
            self.folder / MANIFEST,
            self.wanted
            | {
                "outputs": {
                    name: {
                        "bytes": (self.folder / name).stat().st_size,
                        "sha256": sha256_file(self.folder / name),
                    }
                    for name in outputs
                },
                "metrics": metrics,
                "versions": {"python": platform.python_version()}
                | {name: version(name) for name in LIBRARIES},
                "device": device,
                "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(wall_s, 2),
            },
        )
        LOG.info("%s: finished in %.0f s", self.label, wall_s)


class Run:
    """The folder of one run.

    Args:
        config: The resolved configuration; `config.name` names the folder.
        restart: Jobs that are asked for are started over: their folders are removed.
    """

    def __init__(self, config: Config, *, restart: bool) -> None:
        self.config = config
        self.restart = restart
        self._cleared: set[Path] = set()
        self.folder = Path("runs") / config.name
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        path = self.folder / "config.yaml"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text.encode())

    def job(
        self,
        stage: str,
        *,
        sections: tuple[str, ...],
        inputs: list[Job],
        files: dict[str, str] | None = None,
        fold: int | None = None,
    ) -> Job:
        """Return the job `stage` (of `fold`), which depends on those sections, inputs and files.

        Args:
            stage: Name of the stage and of its folder.
            sections: Top-level keys of the configuration that its result depends on.
            inputs: Finished jobs whose outputs it reads.
            files: Files from outside the run that it reads: name and what tells versions apart.
            fold: The fold, for a stage that is per fold.

        Raises:
            ArtifactError: An input is not finished.
        """
        folder = self.folder / stage / ("" if fold is None else f"fold{fold}")
        config = self.config.model_dump(mode="json", include=set(sections))
        wanted = {
            "stage": stage,
            "fold": fold,
            "seed": self.config.seed,
            "config": config,
            "inputs": {str(job.folder.relative_to(self.folder)): job.identity for job in inputs},
            "files": files or {},
        }
        return Job(stage, fold, folder, wanted)

    def result(self, stage: str, *, fold: int | None = None) -> Job:
        """Return a finished job to read from, after checking that it belongs to this run.

        Raises:
            ArtifactError: It is not finished, or it or what it was made from was made for another
                configuration.
        """
        folder = self.folder / stage / ("" if fold is None else f"fold{fold}")
        job = Job(stage, fold, folder, {})
        manifest = job.manifest
        now = self.config.model_dump(mode="json", include={*manifest["config"], "seed"})
        then = manifest["config"] | {"seed": manifest["seed"]}
        differences = _differences(now, then, "")
        for name, identity in manifest["inputs"].items():
            parent, _, leaf = name.rpartition("/")
            if leaf.startswith("fold"):
                read = self.result(parent, fold=int(leaf.removeprefix("fold")))
            else:
                read = self.result(name)
            if read.identity != identity:
                differences.append(f"{read.label} was made anew since")
        if differences:
            raise ArtifactError(
                f"{folder}: finished for something else: {'; '.join(differences[:5])}. "
                f"{job.restart_hint}"
            )
        return job

    def has_work(self, job: Job) -> bool:
        """Tell whether the job has work to do; with `restart`, first clear what it did before."""
        if self.restart and job.folder not in self._cleared:
            self._cleared.add(job.folder)
            if job.folder.is_dir():
                LOG.info("%s: starting over", job.label)
                shutil.rmtree(job.folder)
        return not job.is_done()

    def begin(self, job: Job) -> bool:
        """Tell whether the job has work to do, and make its folder."""
        if not self.has_work(job):
            return False
        job.folder.mkdir(parents=True, exist_ok=True)
        LOG.info("%s: running", job.label)
        return True


def _differences(wanted: Any, found: Any, key: str) -> list[str]:  # noqa: ANN401  JSON values
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for name in sorted(wanted.keys() | found.keys())
            for line in _differences(
                wanted.get(name), found.get(name), f"{key}.{name}" if key else name
            )
        ]
    if wanted == found:
        return []
    return [f"{key} was {_short(found)}, now {_short(wanted)}"]


def _short(value: Any) -> str:  # noqa: ANN401  a JSON value
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
