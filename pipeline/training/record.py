"""What is recorded of an epoch: the averaged weights' scores beside the training's own figures.

The state at the end of an epoch enters; a row of its history leaves, which is then shown in
`history.csv`, in TensorBoard where that is asked for, and as a line of the log.
"""

import logging
import time
from collections.abc import Callable

from pipeline.training.context import TrainingContext
from pipeline.training.live_progress import write_history
from pipeline.training.state import State
from pipeline.training.tensorboard import Curves
from pipeline.training.validation import validate

LOG = logging.getLogger(__name__)


class Record:
    """Closes epochs, and shows them.

    Args:
        context: Of the training.
        state: Whose history grows.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(self, context: TrainingContext, state: State) -> None:
        self._context, self._state = context, state
        folder, done = context.job.folder / "tensorboard", len(state.history)
        shown = context.machine.tensorboard and context.group.leads
        self._curves = Curves(folder, done) if shown else None

    def close(self, between: Callable[[], None]) -> None:
        """Score the average, add the row of the epoch, and begin the next one.

        `between` is called before each batch of images.

        Raises:
            ConfigError: Memory does not suffice for the images.
        """
        context, state, seconds = self._context, self._state, self._state.seconds
        batch_size, size_px = context.crops.batch_size, context.crops.size_px
        started = time.perf_counter()
        # What a part of a step fits into suffices for as many pixels without a backward pass.
        pixels = batch_size * size_px**2 // (context.group.size * state.parts)
        with context.device.room_for(
            f"crops.batch_size: {batch_size} validation images, {pixels} px of them at a time,",
            advice=f"Set machine.accumulate={2 * state.parts}, if that divides the batch, or lower "
            "crops.batch_size. What is done stays if only machine settings change.",
        ):
            scores = validate(context, state.ema.network, pixels=pixels, between=between)
        row = {
            "epoch": float(len(state.history) + 1),
            **state.sums.means(),
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            **seconds,
            "crops_per_s": len(context.crops) / (seconds["train_s"] + seconds["warmup_s"]),
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
        if self._context.group.leads:
            write_history(job, history)
        if self._curves is not None:
            self._curves.add(row)
            self._curves.add_overlays(self._context, self._state.ema.network, len(history))
        LOG.info(
            "%s epoch %d/%d: loss %.4f, validation loss %.4f, Dice %.3f, %.0f crops/s",
            *(job.label, len(history), self._context.settings.epochs, row["loss"], row["val_loss"]),
            *(row["val_dice"], row["crops_per_s"]),
        )
