"""What the steps of an epoch add up: losses, and how many steps were taken or skipped.

Everything stays on the device until it is asked for, so that adding never waits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = ["EpochSums", "Outcome"]


class Outcome(NamedTuple):
    """A step's losses, detached, and whether it changed the weights; tensors without axes."""

    loss: torch.Tensor
    terms: dict[str, torch.Tensor]
    taken: torch.Tensor


class EpochSums:
    """Sums over the steps of the running epoch.

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
        """Forget the epoch's sums; a row of skipped steps goes on."""
        self._losses.zero_()
        self._counts[:2] = 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what `load_state_dict` takes."""
        return {"losses": self._losses, "counts": self._counts}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a saved epoch."""
        self._losses.copy_(state["losses"])
        self._counts.copy_(state["counts"])
