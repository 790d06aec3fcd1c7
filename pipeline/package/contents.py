"""What a package holds: names, the manifest with the SHA-256 of every file, and how it is read.

A folder without subfolders, since Kaggle's client would leave those out or send them as archives:
wheels, `fold<k>.safetensors`, `config.yaml`, `rules.json`, `confidence.json`, the file of a network
of one's own and, written last, `manifest.json`. Of an average of runs it holds weights,
configuration and code of each, whose names `member<n>.` leads. A model file (`model_file`) is a zip
of the same, with a card instead of wheels, and never code.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from pipeline.config.code_file import CodeFile
from pipeline.config.load import load_stored_config
from pipeline.config.schema import Config
from pipeline.data.catalog import Catalog
from pipeline.errors import ArtifactError, ConfigError
from pipeline.inference.ensemble import members
from pipeline.inference.predict import trained_networks, trained_state
from pipeline.inference.regions import Look
from pipeline.inference.second_look import look_of_run
from pipeline.jobs.artifacts import read_json
from pipeline.jobs.run import Run
from pipeline.networks.weight_files import read_tensors
from pipeline.selection.classes import read_classes
from pipeline.selection.confidence import Confidence, read_confidence
from pipeline.selection.rules import AnyRules

LOG = logging.getLogger(__name__)

CONFIG, RULES, MANIFEST = "config.yaml", "rules.json", "manifest.json"
CONFIDENCE = "confidence.json"
BUILD_PACKAGE = "python -m pipeline.commands.build_package"
KEYS = {"files": dict, "height": int, "made_of": dict, "run": str, "width": int}
"""What a manifest says."""
NO_CONFIDENCE = (
    "%s: calibrated by a version without confidence, so its objects have none. `./run.sh CONFIG "
    "--from calibrate --restart` adds it to the run, and exporting the run again to a model file."
)


def weights_name(fold: int) -> str:
    """Name of the file that holds a fold's weights."""
    return f"fold{fold}.safetensors"


# The notebook holds this function as text, to be run before the package is installed: it may use
# nothing but hashlib, json and Path.
def find_damage(package: Path) -> list[str]:
    """Compare a package with its manifest, file by file; return what is wrong, [] if nothing is."""
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    listed = {"manifest.json", "dataset-metadata.json", *manifest["files"]}
    there = sorted(
        path for path in package.iterdir() if path.name not in listed and path.name[0] != "."
    )
    problems = [f"{path}: not in the manifest" for path in there]
    for name, expected in manifest["files"].items():
        path = package / name
        if not path.is_file():
            problems.append(f"{path}: missing")
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            problems.append(f"{path}: expected SHA-256 {expected[:12]}, found {found[:12]}")
    return problems


def runs_of(run: Run, prefix: str = "") -> Iterator[tuple[str, Run]]:
    """Go through a run and, where it averages others, those: what leads the names of its files."""
    yield prefix, run
    if run.config.predict.ensemble is not None:
        for number, member in enumerate(members(run, run.config.predict.ensemble)):
            yield from runs_of(member, f"{prefix}{_member(number)}")


def _member(number: int) -> str:
    return f"member{number}."


def refuse_average(config: Config) -> None:
    """Raise ConfigError where a run has no networks of its own."""
    if config.predict.ensemble is not None:
        raise ConfigError(
            f"run {config.name}: expected networks of its own, but it averages the maps of "
            f"{', '.join(config.predict.ensemble.runs)}. Give one of them."
        )


@dataclass(frozen=True)
class Networks:
    """The networks of a run, or the runs whose maps it averages.

    Attributes:
        config: The run's resolved configuration.
        look: Where the run computed all passes over test images; None: everywhere.
        weights: What reads the weights of each fold's network.
        members: The runs that it averages, as `config.predict.ensemble` says; it has no weights
            then.
    """

    config: Config
    look: Look | None
    weights: tuple[Callable[[], dict[str, Tensor]], ...]
    members: tuple["Networks", ...]

    def states(self) -> Iterator[dict[str, Tensor]]:
        """Yield the weights of each fold's network.

        Raises:
            ArtifactError: They are missing or damaged.
            ConfigError: It averages runs and has no networks of its own.
        """
        refuse_average(self.config)
        for read in self.weights:
            yield read()

    def configs(self) -> Iterator[Config]:
        """Yield the configuration of the run and of those that it averages."""
        yield self.config
        for member in self.members:
            yield from member.configs()

    def of_fold(self, fold: int) -> Self:
        """Return the same with the networks of one fold only."""
        members = tuple(member.of_fold(fold) for member in self.members)
        return replace(self, weights=self.weights[fold : fold + 1], members=members)


def _networks_of(run: Run) -> Networks:
    ensemble = run.config.predict.ensemble
    if ensemble is not None:
        averaged = tuple(map(_networks_of, members(run, ensemble)))
        return Networks(run.config, None, (), averaged)
    weights = tuple(partial(trained_state, job) for job in trained_networks(run))
    return Networks(run.config, look_of_run(run), weights, ())


def _networks_in(folder: Path, manifest: dict[str, Any], maker: str, prefix: str = "") -> Networks:
    """Read what `_networks_of` does from a package whose bytes are checked."""
    config = load_stored_config(folder / f"{prefix}{CONFIG}")
    ensemble, file = config.predict.ensemble, CodeFile.named(config.network.arch)
    folds = range(0 if ensemble is not None else config.folds.count)
    weights = [f"{prefix}{weights_name(fold)}" for fold in folds]
    used = [*([] if prefix else [RULES]), *weights]
    if file is not None and ensemble is None:
        used.append(f"{prefix}{file.path.name}")
        arch = str(replace(file, path=folder / used[-1]))
        network = config.network.model_copy(update={"arch": arch})
        config = config.model_copy(update={"network": network})
    unlisted = [name for name in used if name not in manifest["files"]]
    if unlisted:
        raise ArtifactError(
            f"{folder / MANIFEST}: expected {', '.join(unlisted)} in it, which {prefix}{CONFIG} "
            f"needs. Build it again with `{maker}`."
        )
    numbers = range(0 if ensemble is None else len(ensemble.runs))
    look = manifest.get("looks", {}).get(prefix) if prefix else manifest.get("look")
    return Networks(
        config,
        Look(**look) if look else None,
        tuple(partial(read_tensors, folder / name) for name in weights),
        tuple(
            _networks_in(folder, manifest, maker, f"{prefix}{_member(number)}")
            for number in numbers
        ),
    )


@dataclass(frozen=True)
class Package(Networks):
    """What predicts: of a package, every byte of it checked, or of the run itself.

    Attributes:
        rules: The run's calibrated rules of each class.
        confidence: How likely an object of each class is a true one; None, for all or for a class,
            where that is not known.
        size: Height and width of the images it learned from, or the largest of both, px.
        made_of: Identity of the jobs that made weights and rules, by their folders.
    """

    rules: dict[str, AnyRules]
    confidence: dict[str, Confidence | None] | None
    size: tuple[int, int]
    made_of: dict[str, str]

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Read what a package of a run would hold.

        Raises:
            ArtifactError: The run, or one that it averages, is not finished, or damaged.
            ConfigError: A run that it averages is not there.
        """
        networks, calibrated = _networks_of(run), run.result("calibrate")
        source, classes = calibrated.checked("rules.json"), run.config.task.classes
        rules, confidence = read_classes(read_json(source), classes, str(source)), None
        if calibrated.writes(CONFIDENCE):
            path = calibrated.checked(CONFIDENCE)
            confidence = read_confidence(read_json(path), classes, str(path))
        else:
            LOG.warning(NO_CONFIDENCE, run.config.name)
        return cls(
            **vars(networks),
            rules=rules,
            confidence=confidence,
            size=Catalog.of(run).sizes.largest,
            made_of=made_of(run),
        )

    @classmethod
    def open(cls, folder: Path, maker: str = BUILD_PACKAGE) -> Self:
        """Check a package and read what is not weights.

        Args:
            folder: Where it is.
            maker: The command that made it, for messages.

        Raises:
            ArtifactError: It is not a package, or a file is missing, damaged or not listed.
            ConfigError: Its configuration is of another version of the pipeline.
        """
        manifest = read_manifest(folder / MANIFEST, maker)
        problems = find_damage(folder)
        if problems:
            raise ArtifactError(
                f"the package is damaged: {'; '.join(problems)}. Build it again with `{maker}`, "
                "and bring all of it here."
            )
        networks = _networks_in(folder, manifest, maker)
        classes, source, path = networks.config.task.classes, folder / RULES, folder / CONFIDENCE
        rules, known = read_json(source), CONFIDENCE in manifest["files"]
        of_run = {"rules": rules} if len(classes) == 1 else rules
        return cls(
            **vars(networks),
            rules=read_classes(of_run, classes, str(source)),
            confidence=read_confidence(read_json(path), classes, str(path)) if known else None,
            size=(manifest["height"], manifest["width"]),
            made_of=manifest["made_of"],
        )


def made_of(run: Run) -> dict[str, str]:
    """Return the identity of the jobs that made networks and rules, by their paths from the run.

    Raises:
        ArtifactError: One is not finished.
    """
    own = [each for _, each in runs_of(run) if each.config.predict.ensemble is None]
    jobs = [*(job for each in own for job in trained_networks(each)), run.result("calibrate")]
    return {os.path.relpath(job.folder, run.folder): job.identity for job in jobs}


def read_manifest(path: Path, maker: str) -> dict[str, Any]:
    """Read a package's manifest; messages name the command that makes it.

    Raises:
        ArtifactError: It is missing, or the manifest of something else.
    """
    if not path.is_file():
        raise ArtifactError(
            f"{path}: missing. Expected the folder `dataset` that `{maker}` builds."
        )
    manifest = read_json(path)
    found = manifest if isinstance(manifest, dict) else {}
    missing = [name for name, kind in KEYS.items() if not isinstance(found.get(name), kind)]
    if missing:
        raise ArtifactError(
            f"{path}: not a package's manifest: it lacks {', '.join(missing)}. Give what "
            f"`{maker}` builds."
        )
    return found
