"""What a package holds: names, the manifest with the SHA-256 of every file, and how it is read.

A folder without subfolders, since Kaggle's client would leave those out or send them as archives:
wheels, `fold<k>.safetensors`, `config.yaml`, `rules.json`, the file of a network of one's own and,
written last, `manifest.json`. A model file (`model_file`) is a zip of the same, with a card instead
of wheels, and never code.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.config.code_file import CodeFile
from pipeline.config.load import load_stored_config
from pipeline.config.schema import Config
from pipeline.data.catalog import Catalog
from pipeline.errors import ArtifactError
from pipeline.inference.predict import trained_networks, trained_state
from pipeline.inference.regions import Look
from pipeline.inference.second_look import look_of_run
from pipeline.jobs.artifacts import read_json
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.networks.weight_files import read_tensors
from pipeline.selection.classes import read_classes
from pipeline.selection.rules import AnyRules

CONFIG, RULES, MANIFEST = "config.yaml", "rules.json", "manifest.json"
BUILD_PACKAGE = "python -m pipeline.commands.build_package"
KEYS = {"files": dict, "height": int, "made_of": dict, "run": str, "width": int}
"""What a manifest says."""


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


@dataclass(frozen=True)
class Package:
    """What predicts: of a package, every byte of it checked, or of the run itself.

    Attributes:
        config: The run's resolved configuration.
        rules: Its calibrated rules of each class.
        look: Where the run computed all passes over test images; None: everywhere.
        size: Height and width of the images it learned from, or the largest of both, px.
        weights: What reads the weights of each fold's network.
        made_of: Identity of the jobs that made weights and rules, by their folders.
    """

    config: Config
    rules: dict[str, AnyRules]
    look: Look | None
    size: tuple[int, int]
    weights: tuple[Callable[[], dict[str, Tensor]], ...]
    made_of: dict[str, str]

    @classmethod
    def of_run(cls, run: Run) -> "Package":
        """Read what a package of a run would hold.

        Raises:
            ArtifactError: The run is not finished, or damaged.
            ConfigError: It has no networks of its own.
        """
        trained, calibrated = trained_networks(run), run.result("calibrate")
        source = calibrated.checked("rules.json")
        return cls(
            config=run.config,
            rules=read_classes(read_json(source), run.config.task.classes, str(source)),
            look=look_of_run(run),
            size=Catalog.of(run).sizes.largest,
            weights=tuple(partial(trained_state, job) for job in trained),
            made_of=made_of(run, [*trained, calibrated]),
        )

    @classmethod
    def open(cls, folder: Path, maker: str = BUILD_PACKAGE) -> "Package":
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
        source, config = folder / RULES, load_stored_config(folder / CONFIG)
        used = [RULES, *map(weights_name, range(config.folds.count))]
        file = CodeFile.named(config.network.arch)
        if file is not None:
            used.append(file.path.name)
            arch = str(replace(file, path=folder / file.path.name))
            network = config.network.model_copy(update={"arch": arch})
            config = config.model_copy(update={"network": network})
        unlisted = [name for name in used if name not in manifest["files"]]
        if unlisted:
            raise ArtifactError(
                f"{folder / MANIFEST}: expected {', '.join(unlisted)} in it, which {CONFIG} needs. "
                f"Build it again with `{maker}`."
            )
        classes, rules = config.task.classes, read_json(source)
        of_run = {"rules": rules} if len(classes) == 1 else rules
        return cls(
            config=config,
            rules=read_classes(of_run, classes, str(source)),
            look=Look(**manifest["look"]) if manifest.get("look") else None,
            size=(manifest["height"], manifest["width"]),
            weights=tuple(
                partial(read_tensors, folder / weights_name(fold))
                for fold in range(config.folds.count)
            ),
            made_of=manifest["made_of"],
        )

    def states(self) -> Iterator[dict[str, Tensor]]:
        """Yield the weights of each fold's network."""
        for read in self.weights:
            yield read()


def made_of(run: Run, jobs: Iterable[Job]) -> dict[str, str]:
    """Return the identity of each job, by its folder in the run's."""
    return {str(job.folder.relative_to(run.folder)): job.identity for job in jobs}


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
