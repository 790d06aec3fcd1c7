"""What stays the same from the first step of a fold's training to the last."""

from dataclasses import dataclass
from functools import cached_property

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.machine import Machine
from pipeline.config.schema import Config, Optimisation
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.jobs.job import Job
from pipeline.training.objective import Objective


@dataclass(frozen=True)
class TrainingContext:
    """One training, as all of its parts see it.

    Attributes:
        job: Where state and results go; its stage and fold name the random streams.
        config: The run's.
        settings: The stage's section of it: loss, schedule, EMA.
        crops: Training crops; an epoch is a multiple of their `batch_size`, the crops of a step
            over all processes of the group.
        validation: Whole images of the held-out fold, scored by the EMA after each epoch.
        device: Where this process computes.
        group: The processes that share each batch.
    """

    job: Job
    config: Config
    settings: Optimisation
    crops: CropDataset
    validation: ImageDataset
    device: Device
    group: Group

    @property
    def machine(self) -> Machine:
        """How to use the machine."""
        return self.config.machine

    @cached_property
    def loss(self) -> Objective:
        """The loss of prediction and target."""
        config = self.config
        return Objective(self.settings.loss, config.targets, config.image_head.weight)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.crops) // self.crops.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.settings.epochs * self.steps_per_epoch
