"""One optimisation step: from a batch to changed weights, and their average.

Nothing here waits for the device. Whether the gradients are finite is decided on it: where they are
not, the gradient scaler has the fused optimiser leave the weights as they are, and the outcome says
so. A batch that does not fit into memory is computed in twice as many parts, if the configuration
leaves their number open (`machine.accumulate: auto`).
"""

import gc
import logging
import math

import torch
from torch import nn

from pipeline.compute.device import is_out_of_memory
from pipeline.config.schema import Optimisation
from pipeline.data.tiles import Item
from pipeline.errors import ConfigError
from pipeline.networks.build import Prediction
from pipeline.training.context import TrainingContext
from pipeline.training.forward import build_forward
from pipeline.training.state import Outcome, State

LOG = logging.getLogger(__name__)


class Step:
    """Takes steps.

    Args:
        context: Of the training.
        state: What they change.
    """

    def __init__(self, context: TrainingContext, state: State) -> None:
        self._context, self._state = context, state
        self._forward = build_forward(state.network, context.machine, context.group)
        self._parameters = [p for p in state.network.parameters() if p.requires_grad]
        # A scale that is not float16's stays 1: the scaler only skips.
        self._scale = None if context.device.scales else 1.0

    def __call__(self, batch: Item) -> Outcome:
        """Take the next step, in as many parts as memory needs.

        Raises:
            ConfigError: The batch does not fit, and its parts may not be halved or are single
                crops.
        """
        while True:
            try:
                return self._take(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(batch["image_chw"]), error)
            # Outside of `except`: the error holds the failed step's memory.
            gc.collect()
            torch.cuda.empty_cache()

    def _take(self, batch: Item) -> Outcome:
        """Take the step, computing the batch in `state.parts` parts.

        What is random in the network is of the step alone, in each process of a group.
        """
        state, settings = self._state, self._context.settings
        state.seed_network("network")
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(settings, state.step, self._context.steps)
        state.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(images, target) for images, target in self._parts(batch)]
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update(self._scale)
        state.ema.update(state.step)
        loss = torch.stack([value for value, _ in losses]).mean()
        terms = {
            name: torch.stack([values[name] for _, values in losses]).mean()
            for name in losses[0][1]
        }
        return Outcome(loss, terms, norm.isfinite())

    def _parts(self, batch: Item) -> list[tuple[torch.Tensor, torch.Tensor]]:
        parts = self._state.parts
        pairs = zip(batch["image_chw"].chunk(parts), batch["target"].chunk(parts), strict=True)
        move = self._context.device.move
        return [(move(images), move(target)) for images, target in pairs]

    def _backward(
        self, images: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Add a part's gradients to those there; return its loss and the loss's terms."""
        device, group = self._context.device, self._context.group
        # Backward too: blocks that are computed again normalise again.
        with group.whole_batch_statistics(device.where):
            with device.autocast():
                own = self._forward(images)
            image_logits = None if own.image_logits is None else group.whole(own.image_logits)
            prediction = Prediction(group.whole(own.logits_nchw), image_logits)
            value, terms = self._context.loss(prediction, group.whole(target))
            share = value * group.size / self._state.parts
            self._state.scaler.scale(share).backward()
        return value.detach(), terms

    def _halve(self, batch_size: int, error: RuntimeError) -> None:
        context, state = self._context, self._state
        parts, said = 2 * state.parts, " ".join(str(error).split())[:300]
        what = (
            f"{batch_size} crops of {context.crops.size_px} px in {state.parts} part(s) do not fit "
            f"into the memory of {context.device.name} ({said})."
        )
        # The processes of a group would not agree on the parts.
        may_halve = context.machine.accumulate == "auto" and context.group.size == 1
        if not may_halve or batch_size % parts:
            raise ConfigError(
                f"crops.batch_size: {what} Set machine.accumulate={parts} (or auto), if that "
                "divides the batch, or machine.checkpoint_activations=true; or lower "
                "crops.batch_size or crops.size_px. What is done stays if only machine settings "
                "change."
            ) from error
        state.parts = parts
        LOG.warning(
            "%s: %s From step %d on a batch is computed in %d parts of %d, which add up; losses of "
            "the whole batch and BatchNorm see a part.",
            *(state.job.label, what, state.step, parts, batch_size // parts),
        )


def learning_rate(settings: Optimisation, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to zero."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
