"""Trials: whole runs of the pipeline that differ in one thing, and what each scored out of fold.

A trial is a run of the real run.sh to the stage `calibrate`, named after the benchmark and the
trial. Stopped and started again, a benchmark resumes where it was; another budget under the same
name is refused by the pipeline itself, so give it another --prefix.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.sizes import sized


@dataclass(frozen=True)
class Score:
    """What a trial reached.

    Attributes:
        f2: Cross-validated F2 of all images; `f2_ship` of the images with ships.
        f2_ship_error: Its standard error over scenes.
        dice: Of the pixels of all ships of all images, out of fold, after calibration.
    """

    f2: float
    f2_ship: float
    f2_ship_error: float
    dice: float


# The same for every trial: eight symmetries and large validation sets cost more than they say.
SHORT = ("predict.tta=none", "train.validation_images=8", "finetune.validation_images=8")


def parser(description: str, prefix: str, *, crops: int, epochs: int) -> argparse.ArgumentParser:
    """Return the flags that benchmarks share, with a benchmark's own budget."""
    flags = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--prefix", default=prefix, help="of the runs' names; default: %(default)s")
    flags.add_argument(
        "--crops", type=int, default=sized(crops, 16), help="an epoch; default: %(default)s"
    )
    flags.add_argument(
        "--epochs",
        type=int,
        default=sized(epochs, 1),
        help="before the fine-tune's; default: %(default)s",
    )
    flags.add_argument("overrides", nargs="*", metavar="key=value", help="for every trial")
    return flags


def budget_of(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides that every trial gets."""
    budget = [f"crops.per_epoch={arguments.crops}", f"train.epochs={arguments.epochs}"]
    return [*SHORT, *budget, *arguments.overrides]


def run_stages(config: Path, *arguments: str) -> None:
    """Run `config` with run.sh, in this environment."""
    environment = os.environ | {"NO_VENV": "1", "PYTHON": sys.executable}
    subprocess.run(["./run.sh", str(config), *arguments], env=environment, check=True)


def run_trial(config: Path, name: str, overrides: Sequence[str]) -> Score:
    """Run `config` as the run `name`, or find it done, and read its score."""
    print(f"== {name}", flush=True)
    run_stages(config, f"name={name}", *overrides, "--to", "calibrate")
    run = Path("runs") / name
    scores = json.loads((run / "calibrate" / "scores.json").read_text())
    return Score(
        f2=scores["f2"],
        f2_ship=scores["f2_ship_images"],
        f2_ship_error=scores["f2_ship_images_standard_error"],
        dice=scores["coefficients"]["dice"],
    )
