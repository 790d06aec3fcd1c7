"""The code of a package as wheels: this project, and what Kaggle's image lacks of its dependencies.

Names of distributions enter; wheel files leave. A distribution comes at the version that is
installed here, which is the one the run was made with.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pipeline
from pipeline.errors import ArtifactError, ConfigError

MISSING_AT_KAGGLE = ("segmentation-models-pytorch", "timm")
"""What prediction imports and Kaggle's image lacks, or holds in a version of its own choice.

The image has torch, torchvision, numpy, pandas, OpenCV, scikit-image, Pillow, PyYAML, pydantic,
safetensors, huggingface-hub and tqdm. It may have timm, but the names of a network's tensors are
its version's. Both are pure Python: their wheels fit any interpreter. Source: Kaggle/docker-python,
kaggle_requirements.txt, on top of Colab's image.
"""

SOURCES = ("pipeline", "pyproject.toml", "README.md", "LICENSE")


def add_wheels(folder: Path, wanted: Sequence[str]) -> None:
    """Put the wheel of this project and the wanted ones into `folder`.

    Args:
        folder: Where to; it exists.
        wanted: Names of distributions, or paths of wheels.

    Raises:
        ConfigError: A distribution is not installed here, or a wheel is not there.
        ArtifactError: pip cannot build or get one.
    """
    requirements = [_requirement(name) for name in wanted]
    _build_own(folder)
    if requirements:
        _pip(
            "download",
            *("--no-deps", "--only-binary", ":all:", "--dest", str(folder), *requirements),
            advice="Without a network, get the wheels elsewhere and give their paths: "
            "--wheels a.whl,b.whl",
        )


def _requirement(name: str) -> str:
    if name.endswith(".whl"):
        if not Path(name).is_file():
            raise ConfigError(f"--wheels: {name}: expected a wheel, found no such file.")
        return name
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        raise ConfigError(
            f"--wheels: {name}: not installed here, so its version is not known. Correct the name, "
            "or give the path of a wheel."
        ) from None


def _build_own(folder: Path) -> None:
    """Build this project's wheel from a copy: a build leaves traces that the next would pick up."""
    root = Path(pipeline.__path__[0]).parent
    missing = [name for name in SOURCES if not (root / name).exists()]
    if missing:
        raise ArtifactError(
            f"{root}: expected a checkout of the project, to build its wheel; not there: "
            f"{', '.join(missing)}. Run this command in a checkout."
        )
    with tempfile.TemporaryDirectory() as name:
        for source in SOURCES:
            if (root / source).is_dir():
                caches = shutil.ignore_patterns("__pycache__")
                shutil.copytree(root / source, Path(name) / source, ignore=caches)
            else:
                shutil.copy(root / source, Path(name) / source)
        _pip(
            "wheel",
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), name),
            advice="`./run.sh setup` installs what building needs",
        )


def _pip(*arguments: str, advice: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ArtifactError(
            f"pip {arguments[0]} failed with code {done.returncode}: {' '.join(said[-3:])[-600:]}. "
            f"{advice}."
        )
