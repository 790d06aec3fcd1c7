"""What can be seen of a training while it runs.

On a terminal a bar for the epoch's steps; elsewhere, in a log, a plain line a minute and one an
epoch. After its first steps a training says how long it will take. `history.csv` has a row for each
epoch done, with the seconds of each phase, so that a slow run explains itself.
"""

import logging
import sys
import time
from collections.abc import Callable
from math import ceil
from statistics import fmean
from typing import Self

import pandas as pd
from tqdm import tqdm

from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.job import Job

LOG = logging.getLogger(__name__)
HISTORY = "history.csv"
LINE_EVERY_S = 60.0
TIMED_STEPS = 20
"""Steps after which a training says how long it will take."""


class EpochProgress:
    """Shows how far an epoch is.

    Args:
        name: Of the job and the epoch.
        steps: Of the epoch.
        done: Steps done before.
        batch_size: Crops a step.
        quiet: Shows nothing.
    """

    def __init__(self, name: str, *, steps: int, done: int, batch_size: int, quiet: bool) -> None:
        self._name, self._steps, self._batch_size = name, steps, batch_size
        self._done = self._begun = done
        self._started = self._told = time.monotonic()
        self._bar = tqdm(total=steps, initial=done, desc=name, leave=False, disable=quiet or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def step(self, loss: Callable[[], float]) -> None:
        """Count a step; `loss` is asked for only when it is shown, since that may wait."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._told < LINE_EVERY_S:
            return
        self._told = now
        rate = (self._done - self._begun) / (now - self._started)
        LOG.info(
            "%s: step %d of %d, loss %.4f, %.0f crops/s, %.0f min left",
            *(self._name, self._done, self._steps, loss(), rate * self._batch_size),
            (self._steps - self._done) / rate / 60,
        )


class TimeEstimate:
    """Says once, after the first steps, how long a training will take.

    Args:
        name: Of the job.
        steps: That are to be taken.
        epochs: That are to end, each with a validation.
        validation_steps: How many steps take as long as a validation.
        quiet: Says nothing.
    """

    def __init__(
        self, name: str, *, steps: int, epochs: int, validation_steps: float, quiet: bool
    ) -> None:
        self._name, self._steps, self._epochs = name, steps, epochs
        self._validation_steps, self._quiet = validation_steps, quiet
        self._seconds: list[float] = []

    def step(self, seconds: float) -> None:
        """Take in what a step took; one that compiles is none."""
        if self._quiet or len(self._seconds) == TIMED_STEPS:
            return
        self._seconds.append(seconds)
        if len(self._seconds) < TIMED_STEPS:
            return
        step_s = fmean(self._seconds[1:])  # the first waits for what is set up only once
        whole_s = step_s * (self._steps + self._epochs * self._validation_steps)
        LOG.info(
            "%s: will take about %s: %d steps, %.2f a second, and %d validations",
            *(self._name, f"{ceil(whole_s)} s" if whole_s < 120 else f"{whole_s / 60:.0f} min"),
            *(self._steps, 1 / step_s, self._epochs),
        )


def write_history(job: Job, rows: list[dict[str, float]]) -> None:
    """Write history.csv, a row for each epoch done.

    Raises:
        ArtifactError: The disk is full.
    """
    whole = {"epoch": int, "skipped_steps": int}
    table = pd.DataFrame(rows).astype(whole).to_csv(index=False)
    write_atomic(job.folder / HISTORY, table.encode())
