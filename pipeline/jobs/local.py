"""This machine, divided among tasks: each has GPUs or cores of its own."""

import os
import shutil
import subprocess
from collections import Counter

from pipeline.errors import ConfigError
from pipeline.jobs.tasks import Processes, Task


class ThisMachine:
    """This machine, whose GPUs or else cores tasks have to themselves.

    Args:
        jobs: How many tasks at once, or "auto": as many as there are GPUs for, else cores.
        use_gpus: False leaves GPUs alone.

    Raises:
        ConfigError: `jobs` is neither "auto" nor a positive number.
    """

    def __init__(self, jobs: str, *, use_gpus: bool) -> None:
        self._jobs = at_once(jobs)
        self._gpus = _gpus() if use_gpus else []
        self._cores = len(os.sched_getaffinity(0))
        self._running: list[tuple[Task, Processes, list[str]]] = []

    def places(self, processes: int) -> int:
        """Return how many tasks of so many processes run at a time.

        Raises:
            ConfigError: One needs more GPUs than there are.
        """
        if self._gpus and processes > len(self._gpus):
            raise ConfigError(
                f"machine.processes_per_fold: {processes}: expected at most {len(self._gpus)}, the "
                f"number of GPUs here, as each process has one to itself."
            )
        return self._jobs or max((len(self._gpus) or self._cores) // processes, 1)

    def cores(self, tasks: int, processes: int) -> int:
        """Return the share of each of so many tasks, a core for each process at least."""
        return max(self._cores // tasks, processes)

    def start(self, task: Task) -> Processes | None:
        """Start a task; None if what it needs is not free yet."""
        self._running = [each for each in self._running if each[1].poll() is None]
        uses = Counter(gpu for _, _, gpus in self._running for gpu in gpus)
        if self._jobs:
            full = len(self._running) >= self._jobs
        elif self._gpus:
            full = len(self._gpus) - len(uses) < task.processes
        else:
            used = sum(other.cores for other, _, _ in self._running)
            full = used > 0 and used + task.cores > self._cores
        if full:
            return None
        gpus = sorted(self._gpus, key=uses.__getitem__)[: task.processes]
        work = Processes(task, {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        self._running.append((task, work, gpus))
        return work


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
