"""One fold's training: its job, its images, and where its network starts.

torch is imported when there is something to train: a finished run ends in seconds.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.code_file import CodeFile
from pipeline.config.schema import Config, Optimisation, check_shares
from pipeline.data.hard_examples import draw_weights, hard_maps
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.seeds import generator, stream_seed

if TYPE_CHECKING:
    from pipeline.data.catalog import Catalog
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

    from pipeline.config.fields import channels
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
    from pipeline.data.catalog import Catalog, LabelledImages
    from pipeline.data.extra import read_extra
    from pipeline.data.folds import read_folds
    from pipeline.data.tiles import CropDataset, ImageDataset
    from pipeline.data.true_objects import TrueObjects
    from pipeline.training import context
    from pipeline.training.sizes import decide_sizes

    config, task, catalog = run.config, run.config.task, Catalog.of(run)
    _check_images(config, catalog)
    shorter_px = int(np.median(catalog.sizes.of(catalog.train_ids).min(axis=1)))
    folds = read_folds(run.result("split").checked("folds.csv"))
    held_out = folds.fold.to_numpy() == fold
    training, validation = folds.ImageId[~held_out], folds.ImageId[held_out].tolist()
    random = generator(config.seed, fold, "validation images")
    validation = _some(validation, settings.validation_images, random)
    validation.sort(key=catalog.sizes.__getitem__)  # a batch holds images of one size
    extra, watched = read_extra(run, fold), catalog.labelled(validation)
    shown = catalog.labelled([*training]) + extra
    more = f" and {len(extra.paths)} of data.extra" if config.data.extra else ""
    counts = len(training), more, len(validation)
    LOG.info("%s: %d training images%s, %d validation images", job.label, *counts)
    device, group = Device.choose(config.machine), Group.current()
    if config.machine.loader_workers == "auto":
        LOG.info("%s: auto is machine.loader_workers=%d", job.label, device.loader_workers)

    def true_objects(images: LabelledImages) -> TrueObjects:
        return TrueObjects(images.objects, images.sizes, len(task.classes))

    crops = CropDataset(
        shown.paths,
        true_objects(shown),
        targets=config.targets,
        # The leader decides, by the memory it has for its share of a batch.
        crops=group.decided(
            lambda: decide_sizes(
                *(job, config.crops, network, device, shorter_px), processes=group.size
            )
        ),
        augment=config.augment,
        seed=config.seed,
        stream=(job.stage, fold),
        draw_weights=draw_weights(hard_maps(run), training, further=len(extra.paths)),
        reading=task.reading,
        cache_mib=config.machine.image_cache_mib,
    )
    truth = true_objects(watched), config.targets
    images = ImageDataset(watched.paths, watched.sizes, truth, reading=task.reading)
    return context.TrainingContext(job, config, settings, crops, images, device, group)


def _check_images(config: Config, catalog: "Catalog") -> None:
    """Refuse a network that does not take every image, before an epoch is trained for nothing."""
    from pipeline.networks.check import check_sizes

    if CodeFile.named(config.network.arch) is None:
        images = {*catalog.sizes.distinct, *catalog.test_sizes.distinct}
        check_sizes(config.network, None, images)


def _some(image_ids: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """Draw so many images, or all there are; their order stays."""
    drawn = random.choice(len(image_ids), min(count, len(image_ids)), replace=False)
    return [image_ids[place] for place in sorted(drawn.tolist())]
