"""Whole images through trained networks.

Images and the folds' weights enter; 8-bit probability maps of object, and of contact where the
networks tell it, leave: the mean over symmetries, and over networks where several see an image.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.compute.device import Device
from pipeline.compute.processes import ignore_signals
from pipeline.config.schema import Config
from pipeline.data.targets import CHANNELS
from pipeline.data.tiles import ImageDataset
from pipeline.errors import ArtifactError, ConfigError
from pipeline.inference.probmaps import MapWriter
from pipeline.inference.tta import SYMMETRIES, Chances, mean_probability
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.jobs.progress import Progress
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps, as_levels
from pipeline.networks.build import build_trained

LOG = logging.getLogger(__name__)


def predict(
    config: Config,
    job: Job,
    part: Part,
    images: Mapping[str, Path],
    trained: Sequence[Job],
    *,
    height: int,
    width: int,
) -> None:
    """Write the maps of a part's images; where the part is whole, finish the job.

    Args:
        config: For the network, the symmetries and the batches.
        job: Its folder takes the maps.
        part: A shard of the images, or all of them: then what shards did is not done again.
        images: The path of each image of the whole part.
        trained: The networks whose mean is predicted.
        height: Of every image, px.
        width: The same.
    """
    writer = MapWriter(job, part, floor=config.predict.floor)
    own, written = part.of(list(images)), writer.written
    todo = [name for name in own if name not in written]
    device = Device.choose(config.machine)
    if todo:
        device = device.resuming(job.label, writer.precisions, config.machine)
        LOG.info("%s: predicts %d images on %s", job.label, len(todo), device)
    maps = predict_maps(
        config,
        device,
        map(trained_state, trained),
        [images[name] for name in todo],
        height=height,
        width=width,
    )
    done = len(own) - len(todo)
    progress = Progress(len(own), done)
    with tqdm(total=len(own), initial=done, desc=job.label, unit="image", disable=None) as bar:
        for name, of_image in zip(todo, maps, strict=True):
            writer.add(name, of_image)
            bar.update()
            progress.update(1)
    writer.end(list(images), device.name)


def trained_networks(run: Run) -> list[Job]:
    """Return the finished training of each fold's network.

    Raises:
        ArtifactError: One is not finished.
        ConfigError: The run has no networks of its own.
    """
    config = run.config
    if config.predict.ensemble is not None:
        raise ConfigError(
            f"run {config.name}: expected networks of its own, but it averages the maps of "
            f"{', '.join(config.predict.ensemble.runs)}. Give one of them."
        )
    return [run.result("finetune", fold=fold) for fold in range(config.folds.count)]


def trained_state(source: Job) -> dict[str, Tensor]:
    """Return the weights that a fold's training ended with.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    state = torch.load(source.checked("final.pt"), map_location="cpu", weights_only=True)
    model: dict[str, Tensor] = state["model"]
    return model


class MeanNetwork:
    """Networks as one: the mean over networks and symmetries.

    Args:
        config: For the network and the symmetries.
        device: Where to compute.
        states: The whole state of each network.

    Raises:
        ArtifactError: A state is that of another network.
    """

    def __init__(self, config: Config, device: Device, states: Iterable[dict[str, Tensor]]) -> None:
        self._device, self._kind = device, config.targets.kind
        self._symmetries = SYMMETRIES[config.predict.tta]
        channels, image_head = CHANNELS[self._kind], config.image_head.weight > 0
        self._networks = [
            device.place(
                build_trained(config.network, channels, state, image_head=image_head)
            ).eval()
            for state in states
        ]

    @torch.inference_mode()
    def __call__(self, images_nchw: Tensor) -> Chances:
        """Predict uint8 (N, 3, H, W).

        Raises:
            ConfigError: Memory does not suffice for so many images.
        """
        count, _, height, width = images_nchw.shape
        room = self._device.room_for(
            f"predict.batch_size: {count} images of {height} x {width} px",
            advice="Lower predict.batch_size; where that is 1 already, set machine.device=cpu.",
        )
        with room, self._device.autocast():
            inputs = self._device.move(images_nchw)
            each = [
                mean_probability(network, inputs, self._symmetries, self._kind)
                for network in self._networks
            ]
        if len(each) == 1:
            return each[0]
        heads = [one.image for one in each if one.image is not None]
        return Chances(
            torch.stack([one.maps_nchw for one in each]).mean(0),
            torch.stack(heads).mean(0) if heads else None,
        )


@torch.inference_mode()
def predict_maps(
    config: Config,
    device: Device,
    states: Iterable[dict[str, Tensor]],
    paths: Sequence[Path],
    *,
    height: int,
    width: int,
) -> Iterator[ImageMaps]:
    """Yield the probability maps of each image: the mean over networks and symmetries.

    Args:
        config: For the network, the symmetries and the batches.
        device: Where to compute.
        states: The whole state of each network.
        paths: The images, all of them readable.
        height: Of every image, px.
        width: The same.

    Yields:
        Maps of (height, width), in the order of `paths`.

    Raises:
        ArtifactError: A state is that of another network, or a probability is not a number.
        ConfigError: Memory does not suffice for a batch.
        DataError: An image cannot be read.
    """
    if not paths:
        return
    network = MeanNetwork(config, device, states)
    loader = DataLoader(
        ImageDataset(paths, height, width),
        config.predict.batch_size,
        num_workers=device.loader_workers,
        pin_memory=device.is_cuda,
        worker_init_fn=ignore_signals,
    )
    for first, batch in zip(range(0, len(paths), config.predict.batch_size), loader, strict=True):
        mean = network(batch["image_chw"])
        yield from as_maps(mean, paths[first:])


def as_maps(mean: Chances, paths: Sequence[Path]) -> Iterator[ImageMaps]:
    """Turn the mean over the networks' answers for the first paths into maps.

    Raises:
        ArtifactError: A probability is not a number.
    """
    maps_nchw, image = mean
    heads = [None] * len(maps_nchw) if image is None else image.tolist()
    # A NaN would become the byte 0, which is a sure "no object". One in a map makes the sum one.
    wrong = ~maps_nchw.flatten(1).sum(1).isfinite()
    wrong = (wrong if image is None else wrong | ~image.isfinite()).nonzero()
    if len(wrong):
        raise ArtifactError(
            f"{paths[int(wrong[0])]}: expected probabilities, got NaN or infinity from the "
            "networks. Weights are damaged, or half precision overflows: then start over with "
            "machine.amp=false."
        )
    for (prob_hw, *contact), chance in zip(as_levels(maps_nchw).cpu().numpy(), heads, strict=True):
        # Rounded here, so that it is the same with and without a file in between.
        image_prob = None if chance is None else round(chance, 6)
        yield ImageMaps(prob_hw, contact[0] if contact else None, image_prob)
