"""The one training loop, for BCE - ln Dice and for the Lovász fine-tune alike.

Writes `final.pt`, the EMA of the weights at the end of a fixed schedule, and `history.csv`. There
is no "best epoch": to choose one on the validation fold would flatter the out-of-fold score.

`context` is what stays the same, `state` what changes. `batches` says which crops come, `step`
changes the weights, `record` scores the average and keeps the history, `live_progress` shows the
epoch that runs, `signals_and_faults` is for what goes wrong. The whole state is in `last.pt` after
each epoch, after each `machine.checkpoint_minutes`, and when training is asked to stop.
"""

import logging
import time
from collections.abc import Iterator

import torch

from pipeline.data.tiles import Item
from pipeline.errors import ConfigError, PipelineError, Stopped
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.progress import Progress
from pipeline.networks.build import SegmentationNetwork
from pipeline.training.batches import crop_batches, statistics_batches, worker_failures
from pipeline.training.context import TrainingContext
from pipeline.training.live_progress import HISTORY, EpochProgress, TimeEstimate, write_history
from pipeline.training.record import Record
from pipeline.training.signals_and_faults import (
    MAX_SKIPPED,
    StopRequest,
    reset_statistics,
    stays_not_finite,
)
from pipeline.training.state import State
from pipeline.training.step import Step

LOG = logging.getLogger(__name__)
OUTPUTS = ["final.pt", HISTORY]
LOOK_EVERY = 50
"""Steps between two looks at whether steps were skipped; a look waits for the device."""


def train(context: TrainingContext, network: SegmentationNetwork) -> None:
    """Train `network` until the job is finished, from `last.pt` if there is one.

    Args:
        context: What to train it on, how and where.
        network: Start weights, with the channels of the targets; moved to the device and changed in
            place.

    Raises:
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
        ArtifactError: The checkpoint is damaged or another job's, gradients stay not finite, or the
            disk is full.
        ConfigError: Memory does not suffice; a loader process was killed; the group does not divide
            the batch, or differs in precision; or that of the checkpoint is missing here.
        DataError: An image cannot be read; the state is saved.
    """
    job, device, group = context.job, context.device, context.group
    state = State(context, group.shared(device.place(network), device.where))
    if group.decided(state.path.is_file):
        state.load()
        LOG.info("%s: resumes at step %d", job.label, state.step)
    context, device = state.context, state.context.device
    LOG.info("%s: trains on %s", job.label, device)
    if group.any(device.precision != group.decided(lambda: device.precision)):
        raise ConfigError(
            f"machine.processes_per_fold: {job.label}: expected processes that compute in the same "
            f"precision, got {device.precision} in one of them and another elsewhere. Start them "
            "on machines of one kind, or a new training with machine.amp=false."
        )
    batch_size, parts = context.crops.batch_size, state.parts * group.size
    if batch_size % parts:
        raise ConfigError(
            f"crops.batch_size: {batch_size}: expected a multiple of {parts}, so that all parts of "
            f"a batch are alike: machine.accumulate={state.parts} of them in each of {group.size} "
            "process(es). Change one of these."
        )
    with StopRequest() as stop, worker_failures(device.loader_workers):
        loop = _Loop(context, state, stop)
        while len(state.history) < context.settings.epochs:
            loop.epoch()
    if group.leads:
        write_history(job, state.history)  # again: a kill may have come between last.pt and it
        final = {"model": state.ema.network.state_dict()}
        write_atomic(job.folder / "final.pt", lambda file: torch.save(final, file))
        sizes = {"size_px": context.crops.size_px, "batch_size": batch_size, "parts": state.parts}
        precision = ", ".join(state.precisions)
        job.finish(OUTPUTS, state.history[-1] | sizes, device.name, precision)


class _Loop:
    """Takes the steps, epoch by epoch.

    Attributes:
        is_cold: Whether the next step compiles the network.
        saved: When the state was saved last, by the monotonic clock.
    """

    def __init__(self, context: TrainingContext, state: State, stop: StopRequest) -> None:
        self.context, self.state, self.stop = context, state, stop
        self.record = Record(context, state)
        self.take = Step(context, state)
        self.batches = crop_batches(context, state.step)
        batch_size = context.crops.batch_size
        self.progress = Progress(context.steps * batch_size, done=state.step * batch_size)
        # A validation passes forward only, a third of a step's work for as many pixels.
        validated_px = context.validation.most_px(len(context.validation))
        self.estimate = TimeEstimate(
            context.job.label,
            steps=context.steps - state.step,
            epochs=context.settings.epochs - len(state.history),
            validation_steps=validated_px / (3 * batch_size * context.crops.size_px**2),
            quiet=not context.group.leads,
        )
        self.is_cold = context.machine.compile
        self.saved = time.monotonic()

    def epoch(self) -> None:
        """Train to the end of the running epoch; then score it, record it and save."""
        state = self.state
        number = len(state.history)
        state.network.train()
        self._train_to((number + 1) * self.context.steps_per_epoch)
        if number + 1 == self.context.settings.epochs:
            self._estimate_statistics(number)
        self.record.close(self._leave_if_asked)
        self._save()
        self.record.show()

    def _train_to(self, end: int) -> None:
        """Take the steps up to `end`, the end of the running epoch."""
        context, state = self.context, self.state
        epoch = f"{len(state.history) + 1}/{context.settings.epochs}"
        validated = {
            name: value
            for row in state.history[-1:]
            for name, value in row.items()
            if name in {"val_loss", "val_dice"}
        }
        with EpochProgress(
            f"{state.job.label} epoch {epoch}",
            steps=context.steps_per_epoch,
            done=state.step - (end - context.steps_per_epoch),
            batch_size=context.crops.batch_size,
            quiet=not context.group.leads,
        ) as shown:
            while state.step < end:
                started = time.perf_counter()
                batch = self._next_batch()
                loaded = time.perf_counter()
                state.sums.add(self.take(batch))
                state.step += 1
                if state.step % LOOK_EVERY == 0 or state.step == end:
                    self._look_at_skipped(batch)
                shown.step(lambda: state.sums.means()["loss"])
                self.progress.update(
                    context.crops.batch_size,
                    lambda: {"epoch": epoch, "loss": state.sums.means()["loss"]} | validated,
                )
                self._leave_if_asked()
                # After all that waits for the device and for the others.
                self._count_seconds(started, loaded)
                if time.monotonic() - self.saved > 60 * context.machine.checkpoint_minutes:
                    self._save()

    def _count_seconds(self, started: float, loaded: float) -> None:
        """Add a step's seconds to their phases; one that compiles is a phase of its own."""
        seconds, stepped = self.state.seconds, time.perf_counter()
        if self.is_cold:
            seconds["warmup_s"] += stepped - loaded
            LOG.info("%s: compiled in %.0f s", self.state.job.label, stepped - loaded)
            self.is_cold = False
        else:
            seconds["step_s"] += stepped - loaded
            seconds["train_s"] += stepped - started
            self.estimate.step(stepped - started)
        seconds["data_wait_s"] += loaded - started

    def _next_batch(self) -> Item:
        try:
            return next(self.batches)
        except PipelineError:  # between two steps the state is whole
            self._save()
            raise

    def _look_at_skipped(self, batch: Item) -> None:
        """Repair what skipped steps spoiled, and stop when they do not end."""
        state = self.state
        skipped, row = state.sums.skipped()
        if skipped == 0:
            return
        reset_statistics(state.network, state.ema.network)
        context = self.context
        if row >= min(MAX_SKIPPED, context.steps_per_epoch):
            raise stays_not_finite(
                state.job,
                step=state.step,
                skipped=row,
                rate=context.settings.learning_rate,
                images=context.crops.paths_of(context.group.whole(batch["image"])),
            )

    def _estimate_statistics(self, epoch: int) -> None:
        """Estimate the average's BatchNorm again on an epoch's crops, in parts as the steps had."""
        context, state = self.context, self.state
        size = context.crops.batch_size // state.parts
        state.seed_network("settling")
        with (
            context.device.room_for(
                f"crops.batch_size: {size} crops of {context.crops.size_px} px, to estimate the "
                "average's BatchNorm statistics on,",
                advice=f"Set machine.accumulate={2 * state.parts}, if that divides the batch. What "
                "is done stays.",
            ),
            context.group.whole_batch_statistics(context.device.where),
            context.device.autocast(),
        ):
            state.ema.estimate_statistics(self._statistics_images(epoch, size))

    def _statistics_images(self, epoch: int, batch_size: int) -> Iterator[torch.Tensor]:
        for batch in statistics_batches(self.context, epoch, batch_size):
            self._leave_if_asked()
            yield self.context.device.move(batch["image_chw"])

    def _leave_if_asked(self) -> None:
        if self.context.group.any(self.stop.asked is not None):
            # All stay until the leader has saved: a process that has left ends the others.
            self.context.group.decided(self._save)
            by = self.stop.asked or "a signal to another process"
            raise Stopped(
                f"{self.state.job.label}: stopped by {by} after step "
                f"{self.state.step}; everything up to there is in {self.state.path}."
            )

    def _save(self) -> None:
        if self.context.group.leads:
            self.state.save()
        self.saved = time.monotonic()
