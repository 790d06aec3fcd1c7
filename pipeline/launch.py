"""Run the parts of a stage in processes of their own, each on its own GPU or CPU cores.

Parts, most often folds, and a number of jobs enter; the stage's own command runs for each part, at
most so many at a time. The first failure ends the others, and its exit code becomes this command's.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import ConfigError

__all__ = ["Slots", "launch"]

POLL_S = 0.1
GRACE_S = 10.0


@dataclass
class Slots:
    """Places to run in, each with the environment that keeps its process to itself."""

    environments: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def of_this_machine(cls, jobs: str, parts: int, *, use_gpus: bool) -> "Slots":
        """Divide the machine.

        Args:
            jobs: How many processes at once, or "auto": one per GPU, else one per CPU core, and
                never more than parts.
            parts: How many parts there are to run.
            use_gpus: False leaves GPUs alone.

        Raises:
            ConfigError: `jobs` is neither "auto" nor a positive number.
        """
        if jobs != "auto" and not (jobs.isdigit() and int(jobs) > 0):
            raise ConfigError(f"--jobs {jobs}: expected auto or a number from 1 on.")
        gpus = _gpus() if use_gpus else []
        cores = len(os.sched_getaffinity(0))
        count = min(parts, int(jobs) if jobs != "auto" else len(gpus) or cores)
        threads = str(max(cores // count, 1))
        return cls(
            [
                {"TQDM_POSITION": str(slot), "OMP_NUM_THREADS": threads}
                | ({"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {})
                for slot in range(count)
            ]
        )


def _gpus() -> list[str]:
    """Return the ids of the CUDA devices this process may use, without the seconds torch takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu not in {"", "-1"}]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number, _ in enumerate(listed.stdout.splitlines())]


def launch(command: Sequence[str], parts: Sequence[str], slots: Slots) -> int:
    """Run `command --folds part` for each part; return 0, or the first failure's exit code."""
    free = list(range(len(slots.environments)))[::-1]
    waiting = list(parts)
    running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    try:
        while waiting or running:
            while waiting and free:
                part, slot = waiting.pop(0), free.pop()
                environment = os.environ | slots.environments[slot]
                arguments = [*command, "--folds", part]
                running[slot] = part, subprocess.Popen(arguments, env=environment)
            time.sleep(POLL_S)
            for slot, (part, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[slot]
                free.append(slot)
                if process.returncode != 0:
                    sys.stderr.write(
                        f"--folds {part} ended with exit code {process.returncode}; its message "
                        f"stands above. The others are stopped.\n"
                    )
                    return process.returncode if process.returncode > 0 else 1
    finally:
        _end([process for _, process in running.values()])
    return 0


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to end, and make those end that do not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
