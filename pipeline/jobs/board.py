"""What a launch shows: one live table on a terminal, the logs' own lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from tqdm import tqdm

from pipeline.jobs.progress import read_progress
from pipeline.jobs.tasks import Task

ROW = "{:<10} {:<9} {:>7} {:>8} {:>8} {:>6} {:>9} {:>9}"
EVERY_S = 0.5


class Board(Protocol):
    """Shows tasks while they run, and once more when it closes."""

    def show(self) -> None:
        """Show what is new; called many times a second."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def board_for(states: Mapping[Task, str]) -> Board:
    """Return a table if somebody watches, else the logs' lines.

    Args:
        states: waiting, running, done, failed or stopped for each task; changes while it is open.
    """
    return Table(states) if sys.stderr.isatty() else Lines(states)


class Lines:
    """Writes to stderr what the tasks' logs gain, whole lines at a time."""

    def __init__(self, states: Mapping[Task, str]) -> None:
        self._logs = [task.log.open("rb") for task in states]
        for log in self._logs:
            log.seek(0, 2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.show()
        for log in self._logs:
            log.close()

    def show(self) -> None:
        """Write what is new."""
        for log in self._logs:
            while (line := log.readline()).endswith(b"\n"):
                sys.stderr.write(line.decode(errors="replace"))
            log.seek(-len(line), 1)


class Table:
    """Keeps a row for each part at the bottom of the terminal, with the last of its tasks begun."""

    def __init__(self, states: Mapping[Task, str]) -> None:
        self._states, self._shown = states, 0.0
        self._parts: dict[str, list[Task]] = {}
        for task in states:
            self._parts.setdefault(task.part, []).append(task)
        head = ROW.format(
            "fold", "stage", "epoch", "loss", "val loss", "Dice", "images/s", "time left"
        )
        self._rows: list[tqdm[Any]] = [
            tqdm(desc=text, bar_format="{desc}", position=position, dynamic_ncols=True)
            for position, text in enumerate([head, *[""] * len(self._parts)])
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()
        for row in self._rows:
            row.close()

    def show(self) -> None:
        """Write the rows anew, twice a second."""
        if time.monotonic() - self._shown >= EVERY_S:
            self._shown = time.monotonic()
            self._write()

    def _write(self) -> None:
        for row, tasks in zip(self._rows[1:], self._parts.values(), strict=True):
            begun = [task for task in tasks if self._states[task] != "waiting"]
            task = (begun or tasks[:1])[-1]
            row.set_description_str(_row(task, self._states[task]))


def _row(task: Task, state: str) -> str:
    """Return a task's row: its latest numbers, and its time left or, if it is not running, that."""
    told = read_progress(task.progress)
    if told and state == "running":
        state = tqdm.format_interval(told["left_s"])
    return ROW.format(
        *(task.part, task.stage, told.get("epoch", "")),
        *(f"{told[key]:.4f}" if key in told else "" for key in ("loss", "val_loss")),
        f"{told['val_dice']:.3f}" if "val_dice" in told else "",
        f"{told['images_per_s']:.1f}" if told else "",
        state,
    )


def end_of(log: Path, lines: int) -> str:
    """Return the last lines of a log, marked as such."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])
