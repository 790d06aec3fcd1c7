"""The state of a training: everything that a run which goes on needs, and nothing else.

The weights, their average, the optimiser, the scaler, the running epoch's sums, the rows of the
epochs done, and the number of steps taken: going on from it gives the bits of a run that was never
interrupted, from any step.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.schema import Optimisation
from pipeline.errors import ArtifactError
from pipeline.jobs.job import Job
from pipeline.networks.build import SegmentationNetwork
from pipeline.seeds import stream_seed
from pipeline.training import checkpoint
from pipeline.training.ema import Ema
from pipeline.training.sums import EpochSums

__all__ = ["State"]


class State:
    """What training changes.

    Args:
        job: Whose state it is.
        network: On the device; its weights are the start.
        settings: Of the optimiser and the EMA.
        device: Where it trains.
        terms: Names of the loss's terms.
        parts: In how many parts a step's batch is computed.

    Attributes:
        step: Optimisation steps done, over all epochs.
        seconds: Of the running epoch, by phase.
        history: A row for each epoch done.
    """

    def __init__(
        self,
        job: Job,
        network: SegmentationNetwork,
        settings: Optimisation,
        device: Device,
        *,
        terms: Sequence[str],
        parts: int,
    ) -> None:
        self.job, self.network = job, network
        self.ema = Ema(network, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(
            _decayed(network, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.scaler = device.scaler()
        self.sums = EpochSums(terms, device.where)
        self.step, self.parts = 0, parts
        self.seconds = dict.fromkeys(
            ("train_s", "data_wait_s", "step_s", "save_s", "warmup_s"), 0.0
        )
        self.history: list[dict[str, float]] = []

    def seed_network(self, purpose: str, group: Group) -> None:
        """Begin the random stream that the network (dropout) draws from for `purpose`.

        It is of the run, the fold, the step and, past the first of a group, of the process.
        """
        process = [group.rank] if group.rank else []
        run = self.job.wanted["seed"], self.job.stage, str(self.job.fold)
        torch.manual_seed(stream_seed(*run, self.step, purpose, *process))

    @property
    def path(self) -> Path:
        """Where the state is saved."""
        return self.job.folder / "last.pt"

    def save(self) -> None:
        """Write the state; the one before stays until this one is whole.

        Raises:
            ArtifactError: The disk is full.
        """
        started = time.perf_counter()
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        values = {name: getattr(self, name) for name in _VALUES}
        checkpoint.save(self.path, {"owner": self.job.owner, **parts, **values})
        self.seconds["save_s"] += time.perf_counter() - started

    def load(self, group: Group) -> None:
        """Take up the state that was saved, in each process of a group.

        Raises:
            ArtifactError: It is damaged, the state of another job, or not the same in all
                processes.
        """
        state = checkpoint.load(self.path, self.job)
        for name, part in self._parts().items():
            if state[name]:  # a scaler that passed gradients through saved nothing
                part.load_state_dict(state[name])
        for name in _VALUES:
            setattr(self, name, state[name])
        first = group.decided(lambda: self.step)
        if group.any(self.step != first):
            raise ArtifactError(
                f"{self.path}: expected one file that all processes share, got one of step "
                f"{self.step} here and of step {first} in the first process. Put the runs' folder "
                "on storage that all nodes share."
            )

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "ema": self.ema.network,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "sums": self.sums,
        }


_VALUES = ("step", "parts", "seconds", "history")


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters: kernels decay, biases and normalisation scales do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
