"""One optimisation step: a batch enters, the weights and their average change.

Nothing here waits for the device. Whether the gradients are finite is decided on it: where they are
not, the fused optimiser leaves the weights as they are, and the outcome says so.
"""

import math

import torch
from torch import nn

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.schema import Optimisation
from pipeline.data.tiles import Item
from pipeline.networks.build import Prediction
from pipeline.training.forward import Forward
from pipeline.training.state import State
from pipeline.training.sums import Outcome

__all__ = ["Step", "learning_rate"]


class Step:
    """Takes steps.

    Args:
        state: What they change.
        forward: Computes the network's prediction: the network itself, or what wraps it.
        loss: Of prediction and target.
        settings: Schedule and clipping.
        steps: Of the whole training.
        device: Where to compute.
        group: The processes that share each batch.
    """

    def __init__(
        self,
        state: State,
        *,
        forward: Forward,
        loss: nn.Module,
        settings: Optimisation,
        steps: int,
        device: Device,
        group: Group,
    ) -> None:
        self._state, self._forward, self._loss = state, forward, loss
        self._settings, self._steps = settings, steps
        self._device, self._group = device, group
        self._parameters = [p for p in state.network.parameters() if p.requires_grad]

    def __call__(self, batch: Item) -> Outcome:
        """Take the next step, computing the batch in `state.parts` parts.

        What is random in the network is of the step alone, in each process of a group.
        """
        state = self._state
        state.seed_network("network", self._group)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, state.step, self._steps)
        state.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(images, target) for images, target in self._parts(batch)]
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        taken = norm.isfinite()
        # The fused optimiser's own rule for skipping; an enabled scaler sets it to the same.
        vars(state.optimizer)["found_inf"] = (~taken).float()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.ema.update(state.step)
        loss = torch.stack([value for value, _ in losses]).mean()
        terms = {
            name: torch.stack([values[name] for _, values in losses]).mean()
            for name in losses[0][1]
        }
        return Outcome(loss, terms, taken)

    def _parts(self, batch: Item) -> list[tuple[torch.Tensor, torch.Tensor]]:
        parts = self._state.parts
        pairs = zip(batch["image_chw"].chunk(parts), batch["target"].chunk(parts), strict=True)
        return [(self._device.move(images), self._device.move(target)) for images, target in pairs]

    def _backward(
        self, images: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Add a part's gradients to those there; return its loss and the loss's terms."""
        whole = self._group.whole
        with self._device.autocast():
            own = self._forward(images)
        image_logits = None if own.image_logits is None else whole(own.image_logits)
        prediction = Prediction(whole(own.logits_nchw), image_logits)
        value, terms = self._loss(prediction, whole(target))
        share = value * self._group.size / self._state.parts
        self._state.scaler.scale(share).backward()
        return value.detach(), terms


def learning_rate(settings: Optimisation, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to zero."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
