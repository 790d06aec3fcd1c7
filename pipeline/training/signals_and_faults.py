"""What ends a training before its time, and what is left for the next one.

A signal is a request that the loop meets between two steps; gradients that stay not finite become
an error which names the images. Memory that ends is met in `training.step`.
"""

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Self

import torch
from torch import nn

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import write_json
from pipeline.jobs.job import Job

MAX_SKIPPED = 20
"""Steps skipped in a row before training stops: float16's scale needs up to 16 halvings."""


class StopRequest:
    """Turns SIGTERM and the first Ctrl-C into a request; a second Ctrl-C ends at once.

    Attributes:
        asked: Name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.asked: str | None = None

    def __enter__(self) -> Self:
        # Python lets only the main thread take signals.
        here = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if here else ()
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT" == self.asked:
            signal.default_int_handler(number, frame)
        self.asked = name


def reset_statistics(*networks: nn.Module) -> None:
    """Reset BatchNorm's statistics where a batch with infinite activations spoiled them.

    Training does not use them, and the average's are estimated again in the end.
    """
    for network in networks:
        for module in network.modules():
            mean, variance = (getattr(module, f"running_{name}", None) for name in ("mean", "var"))
            if mean is None or variance is None:
                continue
            if not torch.isfinite(mean + variance).all():
                mean.zero_()
                variance.fill_(1)


def stays_not_finite(
    job: Job, *, step: int, skipped: int, rate: float, images: Sequence[str]
) -> ArtifactError:
    """Save which images were in the batch; return the error."""
    path = job.folder / "not_finite.json"
    write_json(path, {"step": step, "images": list(images)})
    return ArtifactError(
        f"{job.label}: the gradients of {skipped} steps in a row, up to step {step}, were not "
        f"finite. All of them were skipped, and that was expected to pass. {path} names the "
        "images of the last batch: look at them. If nothing is wrong with them, lower "
        f"{job.stage}.learning_rate (now {rate}) and start over. {job.restart_hint}"
    )
