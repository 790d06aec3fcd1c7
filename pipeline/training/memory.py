"""Steps that fit into memory: where one does not, its batch is computed in twice as many parts.

A step enters, a step leaves that can run out of memory without ending the training, if the
configuration lets it choose the parts (`machine.accumulate: auto`); otherwise the error names the
settings to change.
"""

import gc
import logging

import torch

from pipeline.compute.device import is_out_of_memory
from pipeline.data.tiles import Item
from pipeline.errors import ConfigError
from pipeline.training.state import State
from pipeline.training.step import Step
from pipeline.training.sums import Outcome

__all__ = ["FittingStep"]

LOG = logging.getLogger(__name__)


class FittingStep:
    """Takes steps, in as many parts as memory needs.

    Args:
        step: Takes one in `state.parts` parts.
        state: Remembers the parts.
        may_halve: Whether the parts may be doubled.
        size_px: Of a crop, for the messages.
        device_name: For the messages.
    """

    def __init__(
        self, step: Step, state: State, *, may_halve: bool, size_px: int, device_name: str
    ) -> None:
        self._step, self._state, self._may_halve = step, state, may_halve
        self._size_px, self._device_name = size_px, device_name

    def __call__(self, batch: Item) -> Outcome:
        """Take a step.

        Raises:
            ConfigError: The batch does not fit, and its parts may not be halved or are single
                crops.
        """
        while True:
            try:
                return self._step(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(batch["image_chw"]), error)
            # Outside of `except`: the error holds the failed step's memory.
            gc.collect()
            torch.cuda.empty_cache()

    def _halve(self, batch_size: int, error: RuntimeError) -> None:
        parts, said = 2 * self._state.parts, " ".join(str(error).split())[:300]
        what = (
            f"{batch_size} crops of {self._size_px} px in {self._state.parts} part(s) do not fit "
            f"into the memory of {self._device_name} ({said})."
        )
        if not self._may_halve or batch_size % parts:
            raise ConfigError(
                f"crops.batch_size: {what} Set machine.accumulate={parts} (or auto), if that "
                "divides the batch, or machine.checkpoint_activations=true; or lower "
                "crops.batch_size or crops.size_px. What is done stays if only machine settings "
                "change."
            ) from error
        self._state.parts = parts
        LOG.warning(
            "%s: %s From step %d on a batch is computed in %d parts of %d, which add up; losses of "
            "the whole batch and BatchNorm see a part.",
            *(self._state.job.label, what, self._state.step, parts, batch_size // parts),
        )
