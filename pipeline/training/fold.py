"""One fold's training: which images it learns from, which it is watched on, and where it starts.

A run's data and folds enter; the training loop does the rest.
"""

import logging
from pathlib import Path

import pandas as pd
import torch

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.schema import Optimisation
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.data.hard_examples import draw_weights, hard_maps
from pipeline.data.targets import CHANNELS
from pipeline.data.tiles import CropDataset, ImageDataset, TrueObjects
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.networks.build import SegmentationNetwork, build_network, build_trained
from pipeline.seeds import generator, stream_seed
from pipeline.training.loop import train
from pipeline.training.sizes import decide_sizes

__all__ = ["train_fold"]

LOG = logging.getLogger(__name__)


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
    config = run.config
    torch.manual_seed(stream_seed(config.seed, job.stage, fold, "weights"))
    channels, image_weight = CHANNELS[config.targets.kind], config.image_head.weight
    if start is None:
        network = build_network(config.network, channels, image_head=image_weight > 0)
    else:
        state = torch.load(start, map_location="cpu", weights_only=True)["model"]
        network = build_trained(config.network, channels, state, image_head=image_weight > 0)
    crops, validation = _datasets(run, job, fold, settings, network)
    train(
        job,
        network,
        crops,
        validation,
        targets=config.targets,
        settings=settings,
        image_weight=image_weight,
        machine=config.machine,
        batch_size=crops.batch_size,
    )


def _datasets(
    run: Run, job: Job, fold: int, settings: Optimisation, network: SegmentationNetwork
) -> tuple[CropDataset, ImageDataset]:
    """Return the crops to learn from and the images to watch.

    Only their flat arrays outlive this function: what else was read of the data is gone before
    loader processes are forked.
    """
    config = run.config
    catalog = Catalog.load(run.result("data").folder)
    objects = catalog.objects()
    folds = read_folds(run.result("split").checked("folds.csv"))
    held_out = folds.fold.to_numpy() == fold
    learned, watched = folds.ImageId[~held_out], folds.ImageId[held_out]
    random = generator(config.seed, fold, "validation images")
    count = min(settings.validation_images, len(watched))
    watched = watched.iloc[sorted(random.choice(len(watched), count, replace=False))]
    LOG.info("%s: %d images to learn from, %d to watch", job.label, len(learned), len(watched))
    device, group = Device.choose(config.machine), Group.current()
    if config.machine.loader_workers == "auto":
        LOG.info("%s: auto is machine.loader_workers=%d", job.label, device.loader_workers)
    crops = CropDataset(
        _paths(catalog, learned),
        _true_objects(catalog, objects, learned),
        targets=config.targets,
        # The leader decides, by the memory it has for its share of a batch.
        crops=group.decided(
            lambda: decide_sizes(
                *(job, config.crops, network, device),
                min(catalog.height, catalog.width),
                processes=group.size,
            )
        ),
        augment=config.augment,
        seed=config.seed,
        stream=(job.stage, fold),
        draw_weights=draw_weights(hard_maps(run), learned),
        cache_mib=config.machine.image_cache_mib,
    )
    truth = _true_objects(catalog, objects, watched), config.targets
    return crops, ImageDataset(_paths(catalog, watched), catalog.height, catalog.width, truth)


def _paths(catalog: Catalog, ids: pd.Series) -> list[Path]:
    return [catalog.train_path(image_id) for image_id in ids]


def _true_objects(catalog: Catalog, objects: dict[str, list[str]], ids: pd.Series) -> TrueObjects:
    return TrueObjects([objects[image_id] for image_id in ids], catalog.height, catalog.width)
