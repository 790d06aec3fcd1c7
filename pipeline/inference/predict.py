"""Whole images through trained networks.

Images and the folds' weights enter; 8-bit probability maps of object, and of contact where the
networks tell it, leave: the mean over symmetries, and over networks where several see an image.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.compute.device import Device
from pipeline.compute.processes import ignore_signals
from pipeline.config.schema import Config
from pipeline.data.tiles import ImageDataset
from pipeline.errors import ArtifactError
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.probmaps import MapWriter
from pipeline.inference.regions import Look
from pipeline.inference.tta import Chances
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.jobs.progress import Progress
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps, as_levels, exclusive
from pipeline.masks.sizes import Sizes

if TYPE_CHECKING:
    from pipeline.inference.ensemble_network import Network

LOG = logging.getLogger(__name__)


def predict(
    config: Config,
    job: Job,
    part: Part,
    images: Mapping[str, Path],
    trained: Sequence[Job],
    *,
    sizes: Sizes,
    look: Look | None,
    also: Sequence[str],
) -> None:
    """Write the maps of a part's images; where the part is whole, finish the job.

    Args:
        config: For the network, the symmetries and the batches.
        job: Its folder takes the maps.
        part: A shard of the images, or all of them: then what shards did is not done again.
        images: The path of each image of the whole part.
        trained: The networks whose mean is predicted.
        sizes: Of the images. Those of one size are predicted one after the other.
        look: Where all passes are computed; None: everywhere.
        also: Files in the job's folder that are its outputs, too.
    """
    writer = MapWriter(job, part, floor=config.predict.floor)
    own, written = part.of(list(images)), writer.written
    todo = sorted((name for name in own if name not in written), key=sizes.__getitem__)
    done = len(own) - len(todo)
    progress = Progress(len(own), done)
    device = Device.choose(config.machine)
    if todo:
        device = device.resuming(job.label, writer.precisions, config.machine)
        LOG.info("%s: predicts %d images on %s", job.label, len(todo), device)
        network = MeanNetwork(config, device, map(trained_state, trained), look)
        maps = predict_maps(network, [images[name] for name in todo], sizes.of(todo))
        with tqdm(total=len(own), initial=done, desc=job.label, unit="image", disable=None) as bar:
            for name, of_image in zip(todo, maps, strict=True):
                writer.add(name, of_image)
                bar.update()
                progress.update(1)
        if look is not None:
            LOG.info("%s: %s", job.label, network.work)
    writer.end(list(images), device.name, also=also)


def trained_networks(run: Run) -> list[Job]:
    """Return the finished training of each fold's network.

    Raises:
        ArtifactError: One is not finished.
    """
    return [run.result("finetune", fold=fold) for fold in range(run.config.folds.count)]


def trained_state(source: Job) -> dict[str, Tensor]:
    """Return the weights that a fold's training ended with.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    state = torch.load(source.checked("final.pt"), map_location="cpu", weights_only=True)
    model: dict[str, Tensor] = state["model"]
    return model


@torch.inference_mode()
def predict_maps(
    network: "Network", paths: Sequence[Path], sizes: npt.ArrayLike
) -> Iterator[list[ImageMaps]]:
    """Yield the probability maps of each image, one a class.

    Args:
        network: The networks whose mean is predicted.
        paths: The images, all of them readable.
        sizes: Height and width of each, px, (n, 2). Neighbours of one size share a batch.

    Yields:
        Maps of the size that the competition's masks have, in the order of `paths`.

    Raises:
        ArtifactError: A probability is not a number.
        ConfigError: Memory does not suffice for a batch.
        DataError: An image cannot be read.
    """
    images = ImageDataset(paths, sizes, reading=network.config.task.reading)
    loader = DataLoader(
        images,
        batch_sampler=images.batches(network.batch_size),
        num_workers=network.device.loader_workers,
        pin_memory=network.device.is_cuda,
        worker_init_fn=ignore_signals,
    )
    batches, first = (batch["image_chw"] for batch in loader), 0
    for _, same in groupby(batches, lambda batch: batch.shape[2:]):
        while some := [*islice(same, network.batches_at_once)]:
            mean = network(torch.cat(some), images.most_px(network.batch_size))
            mask_shape = network.config.task.mask_shape
            if mask_shape is not None:
                mean = mean._replace(maps_nchw=adaptive_avg_pool2d(mean.maps_nchw, mask_shape))
            yield from as_maps(mean, paths[first:], network.config)
            first += len(mean.maps_nchw)


def as_maps(mean: Chances, paths: Sequence[Path], config: Config) -> Iterator[list[ImageMaps]]:
    """Turn the mean over the networks' answers for the first paths into maps, one a class.

    Raises:
        ArtifactError: A probability is not a number.
    """
    for levels_chw, image_prob in zip(*to_levels(mean, paths), strict=True):
        yield as_layers(levels_chw, image_prob, config)


def to_levels(
    mean: Chances, names: Sequence[object]
) -> tuple[npt.NDArray[np.uint8], list[float | None]]:
    """Return levels, uint8 (N, C, H, W), and the probabilities of any object.

    Args:
        mean: The networks' answers.
        names: Of the images, in their order, for messages.

    Raises:
        ArtifactError: A probability is not a number.
    """
    maps_nchw, image = mean
    # A NaN would become the byte 0, which is a sure "no object". One in a map makes the sum one.
    wrong = ~maps_nchw.flatten(1).sum(1).isfinite()
    wrong = (wrong if image is None else wrong | ~image.isfinite()).nonzero()
    if len(wrong):
        raise ArtifactError(
            f"{names[int(wrong[0])]}: expected probabilities, got NaN or infinity from the "
            "networks. Weights are damaged, or half precision overflows: then start over with "
            "machine.amp=false."
        )
    # Rounded here, so that it is the same with and without a file in between.
    heads = [None] * len(maps_nchw) if image is None else [round(p, 6) for p in image.tolist()]
    return as_levels(maps_nchw).cpu().numpy(), heads


def as_layers(
    levels_chw: npt.NDArray[np.uint8], image_prob: float | None, config: Config
) -> list[ImageMaps]:
    """Return the maps of each class, of one image's levels, uint8 (C, H, W)."""
    classes = len(config.task.classes)
    contacts = [*levels_chw[classes:]] or [None] * classes
    layers = [
        ImageMaps(prob_hw, contact_hw, image_prob)
        for prob_hw, contact_hw in zip(levels_chw[:classes], contacts, strict=True)
    ]
    return exclusive(layers) if config.task.objects else layers
