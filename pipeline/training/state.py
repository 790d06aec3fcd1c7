"""The state of a training: everything that one which resumes needs, and nothing else.

The weights, their average, the optimiser, the scaler, the running epoch's sums, the rows of the
epochs done, the number of steps taken, and the precision they were taken in: resuming gives the
bits of a run that was never interrupted, from any step. On disk it is whole, undamaged and of this
very job, or refused.
"""

import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import write_atomic
from pipeline.networks.build import SegmentationNetwork
from pipeline.seeds import stream_seed
from pipeline.training.context import TrainingContext
from pipeline.training.ema import Ema


class Outcome(NamedTuple):
    """A step's losses, detached, and whether it changed the weights; tensors without axes."""

    loss: torch.Tensor
    terms: dict[str, torch.Tensor]
    taken: torch.Tensor


class EpochSums:
    """What the steps of the running epoch add up; it stays on the device until it is asked for.

    Args:
        terms: Names of the loss's terms.
        device: Where the losses are.
    """

    def __init__(self, terms: Sequence[str], device: torch.device) -> None:
        self._terms = list(terms)
        self._losses = torch.zeros(1 + len(terms), dtype=torch.float64, device=device)
        # Steps taken, steps skipped, and steps skipped since one was taken.
        self._counts = torch.zeros(3, dtype=torch.int64, device=device)

    def add(self, step: Outcome) -> None:
        """Count one step; the losses of one that was skipped are left out."""
        losses = torch.stack([step.loss, *(step.terms[name] for name in self._terms)])
        self._losses += torch.where(step.taken, losses.double(), 0)
        skipped = ~step.taken
        self._counts[0] += step.taken
        self._counts[1] += skipped
        self._counts[2] = (self._counts[2] + 1) * skipped

    def skipped(self) -> tuple[int, int]:
        """Return how many steps were skipped, in the epoch and in a row; waits for the device."""
        _, epoch, row = self._counts.tolist()
        return epoch, row

    def means(self) -> dict[str, float]:
        """Return `loss`, `loss_<term>` and `skipped_steps`; waits for the device."""
        taken, skipped, _ = self._counts.tolist()
        names = ["loss", *(f"loss_{term}" for term in self._terms)]
        means = (self._losses / taken).tolist()
        return dict(zip(names, means, strict=True)) | {"skipped_steps": float(skipped)}

    def begin_epoch(self) -> None:
        """Forget the epoch's sums; a row of skipped steps does not end."""
        self._losses.zero_()
        self._counts[:2] = 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what `load_state_dict` takes."""
        return {"losses": self._losses, "counts": self._counts}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Resume a saved epoch."""
        self._losses.copy_(state["losses"])
        self._counts.copy_(state["counts"])


class State:
    """What training changes.

    Args:
        context: Of the training.
        network: On the device; its weights are the start.

    Attributes:
        context: Of the training; after `load` in the precision that it goes on in.
        precisions: That steps were taken in, one after the other; the last is the running one.
        parts: In how many parts a step's batch is computed.
        step: Optimisation steps done, over all epochs.
        seconds: Of the running epoch, by phase.
        history: A row for each epoch done.
    """

    def __init__(
        self,
        context: TrainingContext,
        network: SegmentationNetwork,
    ) -> None:
        settings, device = context.settings, context.device
        self.context, self.job, self.network = context, context.job, network
        self.ema = Ema(network, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(
            _decayed(network, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.scaler, self.precisions = device.scaler(), [device.precision]
        self.sums = EpochSums(context.loss.terms, device.where)
        self.step, self.parts = 0, self._parts_asked() or 1
        self.seconds = dict.fromkeys(
            ("train_s", "data_wait_s", "step_s", "save_s", "warmup_s"), 0.0
        )
        self.history: list[dict[str, float]] = []

    def seed_network(self, purpose: str) -> None:
        """Begin the random stream that the network (dropout) draws from for `purpose`.

        It is of the run, the fold, the step and, past the first of a group, of the process.
        """
        rank = self.context.group.rank
        process = [rank] if rank else []
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
        state = {"owner": self.job.owner, **parts, **values}
        write_atomic(self.path, lambda file: torch.save(state, file))
        self.seconds["save_s"] += time.perf_counter() - started

    def load(self) -> None:
        """Take up the state that was saved, in each process of the group.

        Raises:
            ArtifactError: It is damaged, the state of another job, or not the same in all
                processes.
            ConfigError: This machine lacks its precision, and may not go on in another.
        """
        state, group = self._read(), self.context.group
        self._go_on_in(state)
        for name, part in self._parts().items():
            if state.get(name):  # of another precision there is no scaler's
                part.load_state_dict(state[name])
        for name in _VALUES:
            setattr(self, name, state[name])
        self.parts = self._parts_asked() or self.parts
        first = group.decided(lambda: self.step)
        if group.any(self.step != first):
            raise ArtifactError(
                f"{self.path}: expected one file that all processes share, got one of step "
                f"{self.step} here and of step {first} in the first process. Put the runs' folder "
                "on storage that all nodes share."
            )

    def _go_on_in(self, state: dict[str, Any]) -> None:
        """Take the precision that a state was saved in, or the one that may stand in for it."""
        device = self.context.device
        # Version 0.3.0 did not save it, and trained in float32 on CPUs.
        before = device.precision if device.is_cuda else "float32"
        precisions = state.setdefault("precisions", [before])
        device = device.resuming(self.job.label, precisions, self.context.machine)
        self.context, self.scaler = replace(self.context, device=device), device.scaler()

    def _read(self) -> dict[str, Any]:
        path, hint = self.path, self.job.restart_hint
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"checksum of {damaged}")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not isinstance(state.get("owner"), str):
                raise ValueError("no state of a training")
        except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
            raise ArtifactError(
                f"{path}: damaged checkpoint ({error}): expected it as it was saved. {hint}"
            ) from error
        self.job.refuse_others(state["owner"], path)
        return state

    def _parts_asked(self) -> int | None:
        """Return the parts that the configuration asks for; None for `auto`."""
        asked = self.context.machine.accumulate
        return None if asked == "auto" else asked

    def _parts(self) -> dict[str, Any]:
        parts = {
            "network": self.network,
            "ema": self.ema.network,
            "optimizer": self.optimizer,
            "sums": self.sums,
        }
        return parts | ({"scaler": self.scaler} if self.context.device.scales else {})


_VALUES = ("step", "parts", "seconds", "history", "precisions")


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters: kernels decay, biases and normalisation scales do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
