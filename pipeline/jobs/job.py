"""One unit of work, and the manifest that says that it is done.

A manifest is written last, and names the configuration, the inputs and the outputs it stands for.
Present and matching: done. Absent: not done. Different: an error that names the difference.

What a job stands for is compared as this version says it (`config.earlier`), and its identity
leaves out what is neutral: a setting that is added changes neither, until it gets another value.
"""

import hashlib
import json
import logging
import platform
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.config.earlier import carried_over, in_0_1_0, without_neutral, without_places
from pipeline.config.schema import Config
from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import read_json, sha256_file, write_json
from pipeline.jobs.lock import Lock

LOG = logging.getLogger(__name__)
MANIFEST = "manifest.json"
STANDS_FOR = ("stage", "fold", "seed", "config", "inputs", "files", "outputs")
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
        wanted: What the manifest must say: configuration sections and the inputs' identities. Empty
            while an input is planned, see `Run`.
        aliases: What earlier versions called the identities in it, the oldest last.
        inputs: The jobs that it reads.
        replaced: Where its result before is while it is started over.
        locks: Held while it is worked on.
    """

    stage: str
    fold: int | None
    folder: Path
    wanted: dict[str, Any]
    aliases: dict[str, str] = field(default_factory=dict)
    inputs: list["Job"] = field(default_factory=list)
    replaced: Path = Path()
    locks: list[Lock] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        """The job as messages name it, `train fold 0`."""
        return self.stage if self.fold is None else f"{self.stage} fold {self.fold}"

    @property
    def owner(self) -> str:
        """What the job stands for when done, as JSON: marks its unfinished state."""
        return json.dumps(_stands_for(self.wanted), sort_keys=True)

    @property
    def _owner_in_0_1_0(self) -> str:
        names = {now: then for then, now in self.aliases.items()}
        read = {
            key: {name: names.get(each, each) for name, each in self.wanted[key].items()}
            for key in ("inputs", "files")
        }
        return _sha256(self.wanted | read | {"config": in_0_1_0(self.wanted["config"])})

    def refuse_others(self, owner: str, path: Path) -> None:
        """Raise an error if the unfinished state at `path` is not this job's.

        Args:
            owner: The `owner` of the job that saved it.
            path: For the message.

        Raises:
            ArtifactError: It is of another configuration or of other inputs.
        """
        if owner == self.owner:
            return
        try:
            differ = self._differences_from(json.loads(owner))
        except (ValueError, TypeError, KeyError, AttributeError):
            untold = ["version 0.1.0 wrote it and does not say for what"]
            differ = [] if owner == self._owner_in_0_1_0 else untold
        self.refuse(path, "unfinished work", differ)

    def refuse(self, path: Path, what: str, differ: list[str]) -> None:
        """Raise an error if `what` lies at `path` differs from what is wanted there.

        Raises:
            ArtifactError: With the first of the differences.
        """
        if differ:
            raise ArtifactError(
                f"{path}: {what} for something else: {'; '.join(differ[:5])}. {self.restart_hint}"
            )

    @property
    def restart_hint(self) -> str:
        """What a user can do about a job that cannot be taken as it is."""
        stage = self.stage.partition("/")[0]
        return f"Start it over with `--from {stage} --restart`, or choose another `name=`."

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished job.

        Raises:
            ArtifactError: The job has not been finished, or the file is not what it wrote.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            raise ArtifactError(
                f"{path}: missing, so {self.label} is not finished. Run that stage first."
            )
        manifest = read_json(path)
        if not _is_manifest(manifest):
            raise ArtifactError(f"{path}: expected a job's manifest. {self.restart_hint}")
        whole: dict[str, Any] = manifest
        return whole

    @property
    def identity(self) -> str:
        """SHA-256 of what the finished job stands for, not of when and where it ran."""
        return self.identities[0]

    @property
    def identities(self) -> tuple[str, ...]:
        """The identity, and what earlier versions called it, the oldest last."""
        manifest = self.manifest
        known = {key: manifest[key] for key in STANDS_FOR}
        # Version 0.2.0 took in where the data lay, 0.1.0 what is neutral, too.
        in_0_2_0 = known | {"config": without_neutral(Config, _carried_over(known["config"]))}
        return _sha256(_stands_for(known)), _sha256(in_0_2_0), _sha256(known)

    def _differences_from(self, found: dict[str, Any]) -> list[str]:
        """Name what differs in what another job, or an earlier one, stood for."""
        then = {key: found.get(key) for key in self.wanted}
        then["config"] = as_now(found["config"], {*found["config"], *self.wanted["config"]})
        for key in ("inputs", "files"):
            then[key] = {name: self.aliases.get(v, v) for name, v in found[key].items()}
        return differences(self.wanted, then)

    def is_done(self) -> bool:
        """Tell whether the job is finished; its outputs are then present and of the right size.

        Raises:
            ArtifactError: It was finished for another configuration or from other inputs, or an
                output is missing or was changed.
        """
        if not (self.folder / MANIFEST).is_file():
            return False
        manifest = self.manifest
        self.refuse(self.folder, "finished", self._differences_from(manifest))
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

    def writes(self, name: str) -> bool:
        """Tell whether a file is an output of the job, which has finished."""
        return (self.folder / MANIFEST).is_file() and name in self.manifest["outputs"]

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

    def finish(
        self,
        outputs: list[str],
        metrics: dict[str, Any],
        device: str = "cpu",
        precision: str | None = None,
    ) -> None:
        """Write the manifest: from now on the job is done.

        Args:
            outputs: File names relative to the folder, all complete.
            metrics: What the job measured, JSON values.
            device: What it ran on.
            precision: What networks computed in, if there were any.
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
                "versions": {"pipeline": __version__, "python": platform.python_version()}
                | {name: version(name) for name in LIBRARIES},
                "device": device,
                "precision": precision,
                "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(wall_s, 2),
            },
        )
        if self.replaced != Path():
            shutil.rmtree(self.replaced, ignore_errors=True)
        self.release()
        LOG.info("%s: finished in %.0f s", self.label, wall_s)

    def release(self) -> None:
        """Let other processes work on the job."""
        for lock in self.locks:
            lock.release()


def _is_manifest(value: Any) -> bool:  # noqa: ANN401  a JSON value
    """Tell whether a value has the form of a manifest, whatever it says."""
    return (
        isinstance(value, dict)
        and value.keys() >= {*STANDS_FOR, "metrics"}
        and all(isinstance(value[key], dict) for key in ("config", "outputs", "metrics"))
        and all(isinstance(output, dict) for output in value["outputs"].values())
        and all(output.keys() >= {"bytes", "sha256"} for output in value["outputs"].values())
        and all(_are_texts(value[key]) for key in ("inputs", "files"))
    )


def _are_texts(value: Any) -> bool:  # noqa: ANN401  a JSON value
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def as_now(stored: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the named sections of a stored configuration as jobs stand for them now."""
    return without_places(Config, _carried_over(stored, names))


def _carried_over(stored: dict[str, Any], names: Collection[str] = ()) -> dict[str, Any]:
    """Return the sections of a stored configuration, and those named, as this version has them."""
    whole = carried_over(Config, stored)
    return {name: whole[name] for name in sorted({*(names or stored)} & whole.keys())}


def _stands_for(known: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest says, its configuration without what is neutral."""
    config = as_now(known["config"], {*known["config"]})
    return known | {"config": without_neutral(Config, config)}


def _sha256(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(wanted: Any, found: Any, key: str = "") -> list[str]:  # noqa: ANN401  JSON values
    """Name the values below `key` that two trees do not share."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for name in sorted(wanted.keys() | found.keys())
            for line in differences(
                wanted.get(name), found.get(name), f"{key}.{name}" if key else name
            )
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            line
            for place, pair in enumerate(zip(wanted, found, strict=True))
            for line in differences(*pair, f"{key}[{place}]")
        ]
    if wanted == found:
        return []
    # As much of both as it takes to see where they part.
    texts = json.dumps(found), json.dumps(wanted)
    same = next((place for place, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    then, now = (_around(text, same) for text in texts)
    return [f"{key} was {then}, now {now}"]


def _around(text: str, place: int) -> str:
    """Cut a long text down to what lies around a place in it."""
    first = max(place - 20, 0) if len(text) > 60 else 0
    cut = text[first : first + 57]
    return f"{'...' if first else ''}{cut}{'...' if first + 57 < len(text) else ''}"
