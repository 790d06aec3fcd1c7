"""A finished run -> one file that predicts, and that file read: a zip of what a package holds.

Stored without compression, members in a fixed order and of a fixed time, so that one run makes the
same bytes. It holds tensors and text, no code. `manifest.json` is written last and checked first.
"""

import errno
import hashlib
import json
import logging
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from pipeline import __version__
from pipeline.config.code_file import CodeFile
from pipeline.config.schema import Config
from pipeline.errors import ArtifactError, ConfigError, DataError, PipelineError
from pipeline.jobs.artifacts import json_bytes, read_json, write_atomic
from pipeline.jobs.run import Run
from pipeline.metrics import summaries
from pipeline.metrics.registry import find_metric
from pipeline.metrics.reliability import in_words
from pipeline.package.build import contents, manifest
from pipeline.package.contents import (
    CONFIDENCE,
    MANIFEST,
    NO_CONFIDENCE,
    Networks,
    Package,
    runs_of,
)
from pipeline.package.model import Model

LOG = logging.getLogger(__name__)

CARD = "card.md"
FORMAT = 2
"""Of a model file: a reader refuses a higher one. An average of runs has 2, one run still 1."""
EXPORT = "python -m pipeline.commands.export_model"
MADE_WITH = ("torch", "segmentation-models-pytorch", "timm")
"""Distributions whose versions a model file names beside the pipeline's own."""
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
)
"""What a zip of changed bytes, or an encrypted one, raises, and JSON that is none."""


def export_model(run: Run, path: Path) -> None:
    """Write a run's networks and rules into one file.

    Args:
        run: Fine-tuned on all folds, or an average of such runs, and calibrated.
        path: The zip to write.

    Raises:
        ArtifactError: The run, or one that it averages, is not finished, or damaged.
        ConfigError: The code of its networks is in a file of one's own.
        DataError: `path` exists.
    """
    expect_free(path)
    _refuse_code((each.config for _, each in runs_of(run)), run.config.name, ConfigError)
    package = Package.of_run(run)
    files: dict[str, str] = {}

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in contents(run):
                _add(archive, name, content)
                files[name] = hashlib.sha256(content).hexdigest()
            content = _card(run, package).encode()
            _add(archive, CARD, content)
            files[CARD] = hashlib.sha256(content).hexdigest()
            versions = {"pipeline": __version__} | {name: version(name) for name in MADE_WITH}
            form = FORMAT if package.members else 1
            own = {"format": form, "versions": versions, "classes": [*run.config.task.classes]}
            _add(archive, MANIFEST, json_bytes(own | manifest(run, files)))

    write_atomic(path, write)


def expect_free(path: Path) -> None:
    """Raise DataError where something is at `path`."""
    if path.exists():
        raise DataError(f"{path}: exists. Expected a free name: give another, or delete it first.")


def _refuse_code(configs: Iterable[Config], where: str, error: type[PipelineError]) -> None:
    """Refuse networks of one's own: whoever loads a model does not expect to run their code."""
    for config in configs:
        arch = config.network.arch
        if config.predict.ensemble is None and CodeFile.named(arch) is not None:
            raise error(
                f"{where}: network.arch: {arch}: a model file holds no code. A package "
                "(./run.sh build_package) carries it."
            )


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name)  # of the first day that the format knows
    member.create_system, member.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is
    archive.writestr(member, content)


def _card(run: Run, package: Package) -> str:
    """Say what the model is, what it learned from, and how good it is."""
    config, task = run.config, run.config.task
    calibrated = run.result("calibrate")
    scores = read_json(calibrated.checked("scores.json"))
    metric = find_metric(task.metric)
    error = scores.get(f"{metric.key}_standard_error")
    height, width = package.size
    names = summaries.headline(metric)
    networks = "\n".join(_networks(package))
    known = read_json(calibrated.checked(CONFIDENCE)) if package.confidence is not None else {}
    confidence = "\n".join(_reliability(known, task.classes))
    return f"""\
# {config.name}

Finds {task.object_name[1]} in RGB images: {", ".join(task.classes)}.

{networks}
- Learned from images of {height} x {width} px, and predicts larger ones in windows of that size
- Out-of-fold {summaries.in_words(metric, *(scores[name] for name in names))}
- Standard error of that score: {"unknown" if error is None else f"{error:.4f}"}
{confidence}
- Made by version {__version__} of the pipeline

```python
from pipeline import load_model

objects = load_model("THIS_FILE.zip").predict(image_hwc)  # uint8 (h, w, 3), RGB
```
"""


def _networks(networks: Networks) -> Iterator[str]:
    """Say what predicts, a line for each run and what is done in it."""
    config, ensemble = networks.config, networks.config.predict.ensemble
    if ensemble is not None:
        yield f"- An average of {len(ensemble.runs)} runs, by {ensemble.mean}:"
        for member in networks.members:
            yield from (f"  {line}" for line in _networks(member))
        return
    encoder = f", encoder {config.network.encoder}" if config.network.encoder else ""
    look = (
        "everywhere"
        if networks.look is None
        else f"where the first gives a probability of {networks.look.threshold:g} or more"
    )
    count = f"{config.folds.count}, one a fold, each the EMA at the end of its training"
    yield f"- Networks: {count}, whose mean is taken: {config.network.arch}{encoder}"
    yield f"- Passes: {config.predict.tta}, {look}"


def _reliability(known: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """Say how true the confidence of each class is."""
    for class_id in classes:
        of = f" of {class_id}" if len(classes) > 1 else ""
        yield f"- Out-of-fold confidence{of}: {in_words(known.get(class_id))}"


def load_model(path: Path, device: str = "auto") -> Model:
    """Read a model file.

    Args:
        path: What `export_model` wrote.
        device: auto, cpu or cuda.

    Raises:
        ArtifactError: It is not a model file, damaged, or of another format.
        ConfigError: There is no such device, or a newer version wrote the configuration.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a model file, found none. Correct the path.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        try:
            _unpack(path, folder)
            package = Package.open(folder, EXPORT)
            _refuse_code(package.configs(), str(path), ArtifactError)
            if package.confidence is None:
                LOG.warning(NO_CONFIDENCE, path)
            return Model(package, device)
        except PipelineError as error:
            raise type(error)(str(error).replace(str(folder), str(path))) from None


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a model file whose members and format are as expected; their bytes are not checked.

    Raises:
        ArtifactError: They are not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            odd = [name for name in names if not re.fullmatch(r"\w[\w.-]*", name)]
            if odd or len({*names}) < len(names) or MANIFEST not in names:
                raise ArtifactError(
                    f"{path}: expected {MANIFEST} and what it lists, each once and in no folder, "
                    f"got {', '.join(map(repr, odd or names))}. It is no file of `{EXPORT}`: do "
                    "not use it."
                )
            archive.extract(MANIFEST, folder)
            says = json.loads((folder / MANIFEST).read_bytes())
            found = says.get("format") if isinstance(says, dict) else None
            if found not in range(1, FORMAT + 1):
                raise ArtifactError(
                    f"{path}: expected a model file of format 1 to {FORMAT}, which version "
                    f"{__version__} of the pipeline reads, got {found}. Use the version that wrote "
                    "it, or a newer one."
                )
            archive.extractall(folder)
    except (*UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a wrong offset is
            raise
        raise ArtifactError(
            f"{path}: expected a whole model file, found one that is cut short, changed or no zip "
            f"({error}). Copy it here again, or make it again with `{EXPORT}`."
        ) from None
