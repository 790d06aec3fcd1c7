"""What is launched, and what launches it.

A task is one part of a stage: a command, the files it writes to, and how many processes share it.
An engine starts it, here or elsewhere, and gives back work to wait for.

The processes are forks of a server that has imported what takes them seconds, once for all.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Protocol

from pipeline.compute.processes import end_with
from pipeline.errors import Stopped
from pipeline.jobs.progress import PROGRESS

PARENT = "PIPELINE_PARENT"
SERVER = multiprocessing.get_context("forkserver")
POLL_S = 0.1
GRACE_S = 25.0
"""To save in, once asked to end: Kubernetes and SLURM kill after 30."""


@dataclass(frozen=True)
class Task:
    """One part of a stage, to run in processes of its own.

    Attributes:
        label: How messages name it, `train fold 0`.
        stage: The stage's name.
        part: The part, as `--folds` takes it.
        command: Module and arguments, what follows `python -m`.
        log: What the processes print is appended here.
        progress: Where they tell how far they are.
        processes: How many work on the part together, each a rank of one group.
        cores: Of the machine that they share.
        after: Tasks that have to be done before it starts.
        preload: Modules that all processes need, and that take seconds to import.
    """

    label: str
    stage: str
    part: str
    command: tuple[str, ...]
    log: Path
    progress: Path
    processes: int = 1
    cores: int = 1
    after: tuple["Task", ...] = ()
    preload: tuple[str, ...] = ()


class Work(Protocol):
    """A task that was started."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def terminate(self) -> None:
        """Ask it to save and end."""

    def kill(self) -> None:
        """Make it end."""


class Engine(Protocol):
    """Where tasks run."""

    def places(self, processes: int) -> int:
        """Return how many tasks of so many processes run at a time, if there are enough."""

    def cores(self, tasks: int, processes: int) -> int:
        """Return how many cores each of so many tasks has while they run at a time."""

    def start(self, task: Task) -> Work | None:
        """Start a task; None if there is no room for it yet."""


class Processes:
    """The processes of a task on the machine this is called on.

    torchrun would start them too, but turns every exit code into 1, and so a preemption into a
    failure.

    Args:
        task: What to run.
        environment: Variables beside those of this process.
    """

    def __init__(self, task: Task, environment: Mapping[str, str]) -> None:
        threads = {"OMP_NUM_THREADS": str(task.cores // task.processes)}
        common = {**os.environ, **threads, **environment}
        # What the first task names is imported for all; only the server itself needs the first.
        SERVER.set_forkserver_preload(["pipeline.jobs.server", *task.preload])
        self._members: list[ForkServerProcess] = [
            SERVER.Process(target=_become, args=(task.command, str(task.log), common | member))
            for member in _members(task)
        ]
        for process in self._members:
            process.start()

    def poll(self) -> int | None:
        """Return the first exit code that is not 0; 0 when all have ended; None before."""
        codes = [member.exitcode for member in self._members]
        failed = [code for code in codes if code]
        if failed:
            self.kill()
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        return None if None in codes else 0

    def terminate(self) -> None:
        """Send SIGTERM to those that still run."""
        for member in self._members:
            member.terminate()

    def kill(self) -> None:
        """End those that still run, and wait for it."""
        for member in self._members:
            member.kill()
            member.join()


def _become(command: Sequence[str], log: str, environment: Mapping[str, str]) -> None:
    """Be `python -m command` in this process, which the server has forked."""
    with Path(log).open("ab") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment, **{PARENT: str(os.getppid())})
    signal.signal(signal.SIGTERM, lambda *_: os._exit(Stopped.code))  # there is nothing to save yet
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if "torch" in sys.modules:  # which has read the server's OMP_NUM_THREADS
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = [*command]
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _members(task: Task) -> list[dict[str, str]]:
    """Return what tells each process who it is: torchrun's variables, if there are several."""
    progress = {PROGRESS: str(task.progress)}
    if task.processes == 1:
        return [progress]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    count = str(task.processes)
    group = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | (progress if rank == 0 else {})
        for rank in range(task.processes)
    ]


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Like Ctrl-C no error, so that nobody takes it for a defect of a file."""


def terminate(number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM. One is enough: of a whole group's, run.sh passes on its own, too."""
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


def end(works: Collection[Work]) -> None:
    """Ask works to save and end, and make those end that do not."""
    for work in works:
        work.terminate()
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(work.poll() is None for work in works):
        time.sleep(POLL_S)
    for work in works:
        work.kill()


def end_with_parent() -> None:
    """End when whoever started this process, a launcher or run.sh, is gone, killed or not.

    It must not leave a writer behind that a second attempt would meet. A process that PARENT names
    no parent is left alone, and so are those that it starts.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        end_with(int(parent))
