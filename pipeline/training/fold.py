"""One fold's training: its job, its images, and where its network starts.

torch is imported when there is something to train: a finished run ends in seconds.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.config.schema import Optimisation, check_shares
from pipeline.data.hard_examples import draw_weights, hard_maps
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.seeds import generator, stream_seed

if TYPE_CHECKING:
    from pipeline.networks.build import SegmentationNetwork
    from pipeline.training.context import TrainingContext

LOG = logging.getLogger(__name__)
IMPORTS = "pipeline.training.loop", "pipeline.networks.build"
"""What takes seconds to import, of all that `train_fold` does."""


def training_job(run: Run, stage: str, fold: int, *, after: str | None = None) -> Job | None:
    """Return the job of a fold in a stage that trains; None for a run that averages other runs.

    Args:
        run: For the configuration, the folds and the run of `crops.hard_run`.
        stage: Its name, which is also its section of the configuration.
        fold: Held out.
        after: The stage whose result for the fold it starts from, if any.

    Raises:
        ConfigError: There is no run called `crops.hard_run`.
        ArtifactError: The split, the stage before or that run's maps are not finished.
    """
    if run.config.predict.ensemble is not None:
        LOG.info("%s fold %d: nothing to do: this run averages the maps of other runs", stage, fold)
        return None
    before = [] if after is None else [run.result(after, fold=fold)]
    return run.job(
        stage,
        fold=fold,
        sections=("targets", "network", "image_head", "crops", "augment", stage),
        inputs=[run.result("split"), *before, *hard_maps(run)],
    )


def check_training(run: Run) -> None:
    """Refuse what training would refuse, before what was trained before is touched.

    Raises:
        PipelineError: The network cannot be built, or this machine lacks what the run asks for.
    """
    from pipeline.networks.before_work import check_before_work

    check_before_work(run)
    if run.config.machine.device == "cuda":
        from pipeline.compute.device import Device

        Device.choose(run.config.machine)
    batch_size = run.config.crops.batch_size
    if batch_size != "auto":
        check_shares(batch_size, run.config.machine.processes_per_fold)


def train_fold(
    run: Run, job: Job, fold: int, settings: Optimisation, *, start: Path | None
) -> None:
    """Train on all folds but `fold`.

    Args:
        run: For the configuration, the data and the folds.
        job: Where the results go; its stage names the random stream.
        fold: Held out; `settings.validation_images` of it are scored after each epoch.
        settings: The stage's section.
        start: Weights to start from; None for the network's own start.
    """
    import torch

    from pipeline.data.targets import channels
    from pipeline.networks.build import build_network, build_trained
    from pipeline.training.loop import train

    config = run.config
    torch.manual_seed(stream_seed(config.seed, job.stage, fold, "weights"))
    outputs = channels(config.targets.kind, len(config.task.classes))
    image_head = config.image_head.weight > 0
    if start is None:
        network = build_network(config.network, outputs, image_head=image_head)
    else:
        state = torch.load(start, map_location="cpu", weights_only=True)["model"]
        network = build_trained(config.network, outputs, state, image_head=image_head)
    train(_context(run, job, fold, settings, network), network)


def _context(
    run: Run, job: Job, fold: int, settings: Optimisation, network: "SegmentationNetwork"
) -> "TrainingContext":
    """Read what the fold is trained and validated on.

    Only the data sets' flat arrays outlive this function: what else was read of the data is gone
    before loader processes are forked.
    """
    from pipeline.compute.device import Device
    from pipeline.compute.group import Group
    from pipeline.data.catalog import Catalog
    from pipeline.data.folds import read_folds
    from pipeline.data.tiles import CropDataset, ImageDataset
    from pipeline.data.true_objects import TrueObjects
    from pipeline.training import context
    from pipeline.training.sizes import decide_sizes

    config, task, catalog = run.config, run.config.task, Catalog.of(run)
    shape = catalog.height, catalog.width
    of_classes = [catalog.objects(class_id) for class_id in task.classes]
    folds = read_folds(run.result("split").checked("folds.csv"))
    held_out = folds.fold.to_numpy() == fold
    training, validation = folds.ImageId[~held_out], folds.ImageId[held_out]
    random = generator(config.seed, fold, "validation images")
    count = min(settings.validation_images, len(validation))
    validation = validation.iloc[sorted(random.choice(len(validation), count, replace=False))]
    LOG.info(
        "%s: %d training images, %d validation images", job.label, len(training), len(validation)
    )
    device, group = Device.choose(config.machine), Group.current()
    if config.machine.loader_workers == "auto":
        LOG.info("%s: auto is machine.loader_workers=%d", job.label, device.loader_workers)

    def true_objects(ids: pd.Series) -> TrueObjects:
        layers = [objects[image_id] for image_id in ids for objects in of_classes]
        return TrueObjects(layers, *shape, len(of_classes))

    crops = CropDataset(
        [catalog.train_path(image_id) for image_id in training],
        true_objects(training),
        targets=config.targets,
        # The leader decides, by the memory it has for its share of a batch.
        crops=group.decided(
            lambda: decide_sizes(
                *(job, config.crops, network, device),
                min(shape),
                processes=group.size,
            )
        ),
        augment=config.augment,
        seed=config.seed,
        stream=(job.stage, fold),
        draw_weights=draw_weights(hard_maps(run), training),
        reading=task.reading,
        cache_mib=config.machine.image_cache_mib,
    )
    paths = [catalog.train_path(image_id) for image_id in validation]
    truth = true_objects(validation), config.targets
    images = ImageDataset(paths, *shape, truth, reading=task.reading)
    return context.TrainingContext(job, config, settings, crops, images, device, group)
