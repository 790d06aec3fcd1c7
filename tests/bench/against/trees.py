"""Two commits, unpacked, and what a command costs in each."""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
PR_SET_CHILD_SUBREAPER = 36


class Cost(NamedTuple):
    """What a command took, with all processes that it started and waited for, and printed."""

    wall_s: float
    cpu_s: float
    output: str


@dataclass(frozen=True)
class Tree:
    """A commit in a folder of its own: its data, runs and submissions lie there too."""

    name: str
    folder: Path

    @classmethod
    def unpacked(cls, name: str, commit: str, folder: Path) -> "Tree":
        """Unpack a commit into a new folder."""
        folder.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        return cls(name, folder)

    def run(self, *command: str, **environment: str) -> Cost:
        """Run a command to its end: `run.sh` and its arguments, or a module and its.

        Raises:
            RuntimeError: It failed; with the end of what it printed.
        """
        # What a command leaves behind comes to this process, which waits for it and counts it.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        program = ["./run.sh"] if command[0] == "run.sh" else [sys.executable, "-m", command[0]]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [*program, *command[1:]],
            cwd=self.folder,
            env=os.environ | {"NO_VENV": "1", "PYTHON": sys.executable} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - started
        with suppress(ChildProcessError):
            while os.wait():
                pass
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(
                f"{self.name}: {' '.join(command)}: exit code {done.returncode}\n"
                f"{done.stdout[-3000:]}"
            )
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(wall_s, cpu_s, done.stdout)


class Trees(NamedTuple):
    """The earlier commit and this one."""

    old: Tree
    new: Tree


class Ratio(NamedTuple):
    """One line of the table.

    Attributes:
        what: Was measured, with its unit.
        old: Of the earlier commit.
        new: Of this one.
        goal: Of new / old; reached if the ratio is at least it, or at most, if it is below 1.
    """

    what: str
    old: float
    new: float
    goal: float

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        ratio = self.new / self.old
        return ratio >= self.goal if self.goal >= 1 else ratio <= self.goal


def alternate(
    trees: Trees, measure: Callable[[Tree], float], *, rounds: int
) -> tuple[float, float]:
    """Measure the old and the new tree in turn; return the median of each."""
    found: dict[str, list[float]] = {tree.name: [] for tree in trees}
    for number in range(rounds):
        for tree in trees if number % 2 == 0 else reversed(trees):
            found[tree.name].append(measure(tree))
    return median(found[trees.old.name]), median(found[trees.new.name])
