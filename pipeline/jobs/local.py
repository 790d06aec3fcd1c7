"""This machine, divided into places: each runs one task at a time on GPUs or cores of its own."""

import os
import shutil
import subprocess

from pipeline.errors import ConfigError
from pipeline.jobs.tasks import Processes, Task


class ThisMachine:
    """As many places as tasks may run at once.

    Args:
        jobs: How many tasks at once, or "auto": as many as there are GPUs for, else cores.
        use_gpus: False leaves GPUs alone.
        processes: Of each task; each has a GPU to itself, or its share of the cores.

    Attributes:
        places: How many there are.

    Raises:
        ConfigError: `jobs` is neither "auto" nor a positive number, or a task needs more GPUs than
            there are.
    """

    def __init__(self, jobs: str, *, use_gpus: bool, processes: int = 1) -> None:
        self._gpus = _gpus() if use_gpus else []
        self._processes = processes
        if self._gpus and processes > len(self._gpus):
            raise ConfigError(
                f"machine.processes_per_fold: {processes}: expected at most {len(self._gpus)}, the "
                f"number of GPUs here, as each process has one to itself."
            )
        self._cores = len(os.sched_getaffinity(0))
        self.places = at_once(jobs) or max((len(self._gpus) or self._cores) // processes, 1)
        self._work: dict[int, Processes] = {}

    def share(self, tasks: int) -> int:
        """Return how many of so many tasks run at a time, and divide the machine among those."""
        self.places = min(self.places, tasks)
        return self.places

    def environment(self, place: int) -> dict[str, str]:
        """Return what keeps the processes in a place to themselves."""
        threads = max(self._cores // (self.places * self._processes), 1)
        environment = {"OMP_NUM_THREADS": str(threads)}
        if self._gpus:
            turns = range(place * self._processes, (place + 1) * self._processes)
            own = [self._gpus[turn % len(self._gpus)] for turn in turns]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        return environment

    def start(self, task: Task) -> Processes | None:
        """Start a task in a free place; None if there is none."""
        for place in range(self.places):
            if place not in self._work or self._work[place].poll() is not None:
                self._work[place] = Processes(task, self.environment(place))
                return self._work[place]
        return None


def at_once(jobs: str) -> int | None:
    """Read `--jobs`: a number of tasks, None for "auto".

    Raises:
        ConfigError: It is neither.
    """
    if jobs == "auto":
        return None
    if not (jobs.isdigit() and int(jobs) > 0):
        raise ConfigError(f"--jobs {jobs}: expected auto or a number from 1 on.")
    return int(jobs)


def _gpus() -> list[str]:
    """Return the ids of the CUDA devices this process may use, without the seconds torch takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu not in {"", "-1"}]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    # A driver that fails says so in lines of its own, and the parts of a divided GPU have theirs.
    gpus = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number, _ in enumerate(gpus)]
