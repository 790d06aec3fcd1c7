"""The one training loop, for BCE - ln Dice and for the Lovász fine-tune alike.

A network, its loss, crops and validation images enter; `final.pt`, the EMA of the weights at the
end of a fixed schedule, and `history.csv` leave. There is no "best epoch": choosing one on the
validation fold would make the out-of-fold score dishonest.

`batches` says which crops come, `step` changes the weights, through `forward` and in the parts that
fit into `memory`; `state` is what a run goes on from, `record` scores the average and keeps the
history, `watch` shows the epoch that runs, `survival` is for what goes wrong. The whole state is in
`last.pt` after each epoch, after each `machine.checkpoint_minutes`, and when training is asked to
stop.
"""

import logging
import time
from collections.abc import Iterator

import torch

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.schema import Machine, Optimisation, Targets
from pipeline.data.tiles import CropDataset, ImageDataset, Item
from pipeline.errors import ConfigError, PipelineError, Stopped
from pipeline.jobs.job import Job
from pipeline.jobs.progress import Progress
from pipeline.networks.build import SegmentationNetwork
from pipeline.training import checkpoint
from pipeline.training import signals_and_faults as survival
from pipeline.training.batches import crop_batches, deaths_named, settling_batches
from pipeline.training.forward import build_forward
from pipeline.training.live_progress import HISTORY, EpochWatch, write_history
from pipeline.training.memory import FittingStep
from pipeline.training.objective import Objective
from pipeline.training.record import Record
from pipeline.training.state import State
from pipeline.training.step import Step

__all__ = ["train"]

LOG = logging.getLogger(__name__)
OUTPUTS = ["final.pt", HISTORY]
LOOK_EVERY = 50
"""Steps between two looks at whether steps were skipped; a look waits for the device."""


def train(
    job: Job,
    network: SegmentationNetwork,
    crops: CropDataset,
    validation: ImageDataset,
    *,
    targets: Targets,
    settings: Optimisation,
    image_weight: float,
    machine: Machine,
    batch_size: int,
) -> None:
    """Train `network` by `settings` until the job is finished, from `last.pt` if there is one.

    Args:
        job: Where the state and the results go; its stage and fold name the random stream.
        network: Start weights; moved to the device and changed in place.
        crops: Training crops.
        validation: Whole images of the held-out fold, scored by the EMA after each epoch.
        targets: Which the network has the channels for.
        settings: Loss, schedule and EMA.
        image_weight: Of the image head's loss; 0 for a network without one.
        machine: Device, precision, loader processes, and how often the state is saved.
        batch_size: Crops per step, over all processes of the group that this one has joined; the
            crops of an epoch are a multiple of it.

    Raises:
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
        ArtifactError: The checkpoint is foreign or damaged, gradients stay not finite, or the disk
            is full.
        ConfigError: Memory does not suffice; a loader process was killed; or the group does not
            divide the batch.
        DataError: An image cannot be read; the state is saved.
    """
    device, group = Device.choose(machine), Group.current()
    network = group.shared(device.place(network), device.where)
    asked = 1 if machine.accumulate == "auto" else machine.accumulate
    loss = Objective(settings.loss, targets, image_weight)
    state = State(job, network, settings, device, terms=loss.terms, parts=asked)
    if group.decided(state.path.is_file):
        state.load(group)
        if machine.accumulate != "auto":
            state.parts = asked
        LOG.info("%s: goes on after step %d", job.label, state.step)
    parts = state.parts * group.size
    if batch_size % parts:
        raise ConfigError(
            f"crops.batch_size: {batch_size}: expected a multiple of {parts}, so that all parts of "
            f"a batch are alike: machine.accumulate={state.parts} of them in each of {group.size} "
            "process(es). Change one of these."
        )
    with survival.StopRequest() as stop, deaths_named(device.loader_workers):
        record = Record(
            state,
            loss=loss,
            validation=validation,
            kind=targets.kind,
            epochs=settings.epochs,
            batch_size=batch_size,
            size_px=crops.size_px,
            device=device,
            group=group,
            tensorboard=machine.tensorboard,
        )
        loop = _Loop(
            state,
            crops=crops,
            record=record,
            loss=loss,
            settings=settings,
            machine=machine,
            batch_size=batch_size,
            device=device,
            group=group,
            stop=stop,
        )
        while len(state.history) < settings.epochs:
            loop.epoch()
    if group.leads:
        write_history(job, state.history)  # again: a kill may have come between last.pt and it
        checkpoint.save(job.folder / "final.pt", {"model": state.ema.network.state_dict()})
        sizes = {"size_px": crops.size_px, "batch_size": batch_size, "parts": state.parts}
        job.finish(OUTPUTS, state.history[-1] | sizes, device.name)


class _Loop:
    """What stays the same while the state changes."""

    def __init__(
        self,
        state: State,
        *,
        crops: CropDataset,
        record: Record,
        loss: Objective,
        settings: Optimisation,
        machine: Machine,
        batch_size: int,
        device: Device,
        group: Group,
        stop: survival.StopRequest,
    ) -> None:
        self.state, self.device, self.group, self.stop = state, device, group, stop
        self.crops, self.record, self.batch_size = crops, record, batch_size
        self.settings, self.machine = settings, machine
        self.steps = len(crops) // batch_size
        step = Step(
            state,
            forward=build_forward(state.network, machine, group),
            loss=loss,
            settings=settings,
            steps=settings.epochs * self.steps,
            device=device,
            group=group,
        )
        self.take = FittingStep(
            step,
            state,
            # The processes of a group would not agree on the parts.
            may_halve=machine.accumulate == "auto" and group.size == 1,
            size_px=crops.size_px,
            device_name=device.name,
        )
        self.batches = crop_batches(
            crops,
            batch_size,
            first_step=state.step,
            epochs=settings.epochs,
            workers=device.loader_workers,
            pin=device.is_cuda,
            group=group,
        )
        crops_in_all = settings.epochs * len(crops)
        self.progress = Progress(crops_in_all, done=state.step * batch_size)
        self.is_cold = machine.compile
        self.saved = time.monotonic()

    def epoch(self) -> None:
        """Go on to the end of the running epoch; then score it, record it and save."""
        state = self.state
        number = len(state.history)
        state.network.train()
        self._train_to((number + 1) * self.steps)
        if number + 1 == self.settings.epochs:
            self._settle(number)
        self.record.close(self.steps * self.batch_size, self._leave_if_asked)
        self._save()
        self.record.show()

    def _train_to(self, end: int) -> None:
        """Take the steps up to `end`, the end of the running epoch."""
        state = self.state
        number = len(state.history) + 1
        name = f"{state.job.label} epoch {number}/{self.settings.epochs}"
        done = state.step - (end - self.steps)
        with EpochWatch(
            name,
            steps=self.steps,
            done=done,
            batch_size=self.batch_size,
            quiet=not self.group.leads,
        ) as watch:
            while state.step < end:
                started = time.perf_counter()
                batch = self._next_batch()
                loaded = time.perf_counter()
                state.sums.add(self.take(batch))
                state.step += 1
                if state.step % LOOK_EVERY == 0 or state.step == end:
                    self._look_at_skipped(batch)
                watch.step(lambda: state.sums.means()["loss"])
                self.progress.update(
                    self.batch_size,
                    lambda: {
                        "epoch": f"{number}/{self.settings.epochs}",
                        "loss": state.sums.means()["loss"],
                    },
                )
                self._leave_if_asked()
                # After all that waits for the device and for the others.
                self._count_seconds(started, loaded)
                if time.monotonic() - self.saved > 60 * self.machine.checkpoint_minutes:
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
        survival.heal_statistics(state.network, state.ema.network)
        if row >= min(survival.MAX_SKIPPED, self.steps):
            raise survival.stays_not_finite(
                state.job,
                step=state.step,
                skipped=row,
                rate=self.settings.learning_rate,
                image_ids=self.crops.image_ids(self.group.whole(batch["image"])),
            )

    def _settle(self, epoch: int) -> None:
        """Measure the average's BatchNorm on an epoch's crops, in parts as the steps had them."""
        state, size = self.state, self.batch_size // self.state.parts
        state.seed_network("settling", self.group)
        with self.device.room_for(
            f"crops.batch_size: {size} crops of {self.crops.size_px} px, to settle the average on,",
            advice=f"Set machine.accumulate={2 * state.parts}, if that divides the batch. What is "
            "done stays.",
        ):
            state.ema.settle(self._settling_images(epoch, size))

    def _settling_images(self, epoch: int, batch_size: int) -> Iterator[torch.Tensor]:
        for batch in settling_batches(
            self.crops,
            batch_size,
            epoch=epoch,
            workers=self.device.loader_workers,
            pin=self.device.is_cuda,
            group=self.group,
        ):
            self._leave_if_asked()
            yield self.device.move(batch["image_chw"])

    def _leave_if_asked(self) -> None:
        if self.group.any(self.stop.asked is not None):
            # All stay until the leader has saved: a process that has left ends the others.
            self.group.decided(self._save)
            by = self.stop.asked or "a signal to another process"
            raise Stopped(
                f"{self.state.job.label}: stopped by {by} after step "
                f"{self.state.step}; everything up to there is in {self.state.path}."
            )

    def _save(self) -> None:
        if self.group.leads:
            self.state.save()
        self.saved = time.monotonic()
