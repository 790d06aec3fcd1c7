"""Tasks on a Ray cluster that exists already.

The cluster chooses the node by the GPUs, or the cores, that a task asks for, and starts it again
elsewhere when its node dies; the stage then resumes from its last state. So that it can, every node
sees the project's folder under the same path.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.paths import CALLER
from pipeline.errors import ArtifactError, ConfigError, Stopped
from pipeline.jobs.local import at_once
from pipeline.jobs.tasks import POLL_S, Processes, Task, end

if TYPE_CHECKING:
    import ray

RETRIES = 20
"""Nodes that one task may lose; so many failures are not the nodes' fault."""


class Cluster:
    """A Ray cluster, found by RAY_ADDRESS or because this machine belongs to it.

    Args:
        jobs: How many tasks at once, or "auto": as many as the cluster has room for.
        device: cpu, cuda, or auto: GPUs where the cluster has any.

    Raises:
        ConfigError: `jobs` is neither "auto" nor a positive number, Ray is not installed, or there
            is no cluster.
    """

    def __init__(self, jobs: str, *, device: str) -> None:
        self._jobs = at_once(jobs)
        ray = _connected()
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._device = device
        gpus = device == "cuda" or (device == "auto" and any("GPU" in node for node in self._nodes))
        self._kind = "GPU" if gpus else "CPU"
        self._work: list[_Remote] = []

    def _fitting(self, processes: int) -> list[dict[str, float]]:
        """Return the nodes that are large enough for a task of so many processes."""
        return [node for node in self._nodes if node.get(self._kind, 0) >= processes]

    def places(self, processes: int) -> int:
        """Return how many tasks of so many processes run at a time.

        Raises:
            ConfigError: No node is large enough for one.
        """
        nodes = self._fitting(processes)
        if not nodes:
            raise ConfigError(
                f"--engine ray: expected a node with at least {processes} {self._kind}, which a "
                f"task of machine.device={self._device} needs, got {len(self._nodes)} nodes "
                "without. Add one."
            )
        return self._jobs or sum(int(node[self._kind]) // processes for node in nodes)

    def cores(self, tasks: int, processes: int) -> int:
        """Return the share of each of so many tasks: it fits onto each node that may get it."""
        cores = [int(node.get("CPU", 0)) for node in self._fitting(processes)]
        return max(min(*cores, sum(cores) // tasks), processes)

    def start(self, task: Task) -> "_Remote | None":
        """Hand a task to the cluster; None while as many run as may."""
        if self._jobs and sum(work.poll() is None for work in self._work) >= self._jobs:
            return None
        import ray

        remote = ray.remote(_work).options(
            name=task.label,
            num_gpus=task.processes if self._kind == "GPU" else 0,
            num_cpus=task.cores,
            max_retries=RETRIES,
            retry_exceptions=[_Preempted],
        )
        self._work.append(
            _Remote(task, remote.remote(task, Path.cwd(), os.environ.get(CALLER, "")))
        )
        return self._work[-1]


def _connected() -> "ray":
    """Return the module, connected to the cluster."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "--engine ray: expected Ray to be installed. Run: pip install '.[cluster]'"
        ) from None
    try:
        # No address would start a cluster of this machine alone, unasked.
        ray.init(address="auto", log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise ConfigError(
            f"--engine ray: no Ray cluster found ({error}). Start one by `ray start --head`, or "
            "name it by RAY_ADDRESS."
        ) from error
    return ray


class _Preempted(Exception):  # noqa: N818  not an error: the task is started again
    """The node asked the task to save and leave."""


def _work(task: Task, folder: Path, caller: str) -> int:
    """Run a task on the node this is called on; return its exit code.

    Args:
        task: What to run.
        folder: The project's.
        caller: Where relative paths of the command line start.
    """
    log = folder / task.log
    if not log.is_file():
        raise ArtifactError(
            f"{log}: expected the log that was made for {task.label}, got no file on node "
            f"{os.uname().nodename}. Put the project on storage that all nodes share."
        )
    os.chdir(folder)
    work = Processes(task, {CALLER: caller})
    try:
        while (code := work.poll()) is None:
            time.sleep(POLL_S)
    except KeyboardInterrupt:  # cancelled
        end([work])
        raise
    if code == Stopped.code:
        raise _Preempted
    return code


class _Remote:
    """A task on the cluster."""

    def __init__(self, task: Task, reference: "ray.ObjectRef[int]") -> None:
        self._task, self._reference = task, reference

    def poll(self) -> int | None:
        """Return the exit code, or None while it waits for a node or runs.

        Raises:
            ArtifactError: A node lacks the project's folder, or too many nodes died.
            Stopped: Too many nodes asked the task to leave.
        """
        import ray

        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            code: int = ray.get(self._reference)
        except ray.exceptions.TaskCancelledError:
            return 1
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, _Preempted):
                raise Stopped(
                    f"{self._task.label}: started {RETRIES + 1} times, and asked to leave by its "
                    "node each time; its state is saved."
                ) from None
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise ArtifactError(
                f"{self._task.label}: started {RETRIES + 1} times, and lost its node each time "
                f"({error}). Its state is kept: fix the cluster and run the same command again."
            ) from error
        return code

    def terminate(self) -> None:
        """Have the node ask the processes to save and end."""
        import ray

        ray.cancel(self._reference)

    def kill(self) -> None:
        """Have the node end the processes at once."""
        import ray

        ray.cancel(self._reference, force=True)
