"""What is recorded of an epoch: the averaged weights' scores beside the training's own figures.

The state at the end of an epoch enters; a row of its history leaves, which is then shown in
`history.csv`, in TensorBoard where that is asked for, and as a line of the log.
"""

import logging
import time
from collections.abc import Callable

from torch import nn

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.data.tiles import ImageDataset
from pipeline.training.live_progress import write_history
from pipeline.training.state import State
from pipeline.training.tensorboard import Curves
from pipeline.training.validation import validate

__all__ = ["Record"]

LOG = logging.getLogger(__name__)


class Record:
    """Closes epochs, and shows them.

    Args:
        state: Whose history grows.
        loss: Of prediction and target.
        validation: Whole images that the average is scored on.
        kind: Of the targets.
        epochs: Of the whole training.
        batch_size: Crops a step, and images a batch.
        size_px: Of a crop.
        device: Where the network is.
        group: The processes that share the images.
        tensorboard: Whether TensorBoard shows the epochs too.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        state: State,
        *,
        loss: nn.Module,
        validation: ImageDataset,
        kind: str,
        epochs: int,
        batch_size: int,
        size_px: int,
        device: Device,
        group: Group,
        tensorboard: bool,
    ) -> None:
        self._state, self._loss, self._validation, self._kind = state, loss, validation, kind
        self._epochs, self._batch_size, self._size_px = epochs, batch_size, size_px
        self._device, self._group = device, group
        self._curves = (
            Curves(state.job.folder / "tensorboard", len(state.history))
            if tensorboard and group.leads
            else None
        )

    def close(self, crops: int, between: Callable[[], None]) -> None:
        """Score the average, add the row of an epoch of so many crops, and begin the next epoch.

        `between` is called before each batch of images.

        Raises:
            ConfigError: Memory does not suffice for the images.
        """
        state, seconds, batch_size = self._state, self._state.seconds, self._batch_size
        started = time.perf_counter()
        # What a part of a step fits into suffices for as many pixels without a backward pass.
        pixels = batch_size * self._size_px**2 // (self._group.size * state.parts)
        with self._device.room_for(
            f"crops.batch_size: {batch_size} images to watch, {pixels} px of them at a time,",
            advice=f"Set machine.accumulate={2 * state.parts}, if that divides the batch, or lower "
            "crops.batch_size. What is done stays if only machine settings change.",
        ):
            scores = validate(
                state.ema.network,
                self._loss,
                self._validation,
                kind=self._kind,
                batch_size=batch_size,
                pixels=pixels,
                workers=self._device.loader_workers,
                device=self._device,
                between=between,
                group=self._group,
            )
        row = {
            "epoch": float(len(state.history) + 1),
            **state.sums.means(),
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            **seconds,
            "crops_per_s": crops / (seconds["train_s"] + seconds["warmup_s"]),
            **scores,
            "val_s": time.perf_counter() - started,
        }
        state.history.append(row)
        state.sums.begin_epoch()
        state.seconds = dict.fromkeys(seconds, 0.0)

    def show(self) -> None:
        """Show the epoch that was closed last."""
        job, history = self._state.job, self._state.history
        row = history[-1]
        if self._group.leads:
            write_history(job, history)
        if self._curves is not None:
            self._curves.add(row)
            self._curves.add_overlays(
                self._state.ema.network,
                self._validation,
                kind=self._kind,
                device=self._device,
                epoch=len(history),
            )
        LOG.info(
            "%s epoch %d/%d: loss %.4f, validation loss %.4f, Dice %.3f, %.0f crops/s",
            *(job.label, len(history), self._epochs, row["loss"], row["val_loss"]),
            *(row["val_dice"], row["crops_per_s"]),
        )
