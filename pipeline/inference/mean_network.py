"""Networks as one: their mean over symmetries, everywhere or only where it can matter.

Images enter, probabilities leave. The mean takes a pass through every network for every symmetry,
and most of an image holds nothing: with a `Look`, one pass says where an object is possible, and
the others see only windows around that, those of one size together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.compute.device import Device
from pipeline.config.fields import channels
from pipeline.config.schema import Config
from pipeline.data.targets import without_borders
from pipeline.inference.regions import Look, Region, find_regions
from pipeline.inference.tta import SYMMETRIES, Chances, mean_probability
from pipeline.networks.build import SegmentationNetwork, build_trained


class Batching(NamedTuple):
    """How windows become batches.

    Attributes:
        batches_at_once: Batches of images whose windows are put together: of more, more have one
            size.
        symmetries_px: Pixels up to which symmetries of windows make one batch.
        side_px: Windows are multiples of it, so that more have one size.
    """

    batches_at_once: int
    symmetries_px: int
    side_px: int


# A call costs 3 ms and more whatever its size, and a CPU gains nothing by batches that leave its
# caches: seven symmetries of 48 px together are 3 times as fast, of 160 px 1.3, of 320 px 0.97
# times (ResNet18 U-Net, float32). A card needs large ones to be busy, plans each size that it has
# not seen before, and gains 1.2 times by multiples of 64 px; 128 images of 768 px take a gigabyte.
BATCHING = {"cpu": Batching(4, 2**19, 1), "cuda": Batching(16, 2**23, 64)}


@dataclass
class Work:
    """What a network has computed.

    Attributes:
        passes: How often a pixel goes through a network that is looked at in every way.
        images: How many there were.
        ended: How many of them the first pass ended.
        pixels: How often a pixel of them went through a network, in whole images.
    """

    passes: int
    images: int = 0
    ended: int = 0
    pixels: float = 0.0

    def add(self, regions: Sequence[Sequence[Region]], image_px: int) -> None:
        """Count a batch of which these regions were looked at again."""
        again_px = sum(one.window.area_px for of_image in regions for one in of_image)
        self.images += len(regions)
        self.ended += sum(not of_image for of_image in regions)
        self.pixels += len(regions) + (self.passes - 1) * again_px / image_px

    def __str__(self) -> str:
        return (
            f"{self.ended} of {self.images} images ended after the first pass; "
            f"{self.pixels / max(self.images, 1):.1f} passes an image instead of {self.passes}"
        )


class MeanNetwork:
    """Networks as one: the mean over networks and symmetries.

    Args:
        config: For the network, the symmetries and the batches.
        device: Where to compute.
        states: The whole state of each network.
        look: The mean is taken only where the first network's answer to an image as it is leaves an
            object possible; elsewhere, and for the image head, that answer stands. None: the mean
            is taken everywhere.

    Attributes:
        config: As given.
        device: Where to compute.
        batch_size: Images in a forward pass; of smaller windows, as many pixels.
        batches_at_once: How many batches to predict together.
        work: What was computed so far.

    Raises:
        ArtifactError: A state is that of another network.
    """

    def __init__(
        self,
        config: Config,
        device: Device,
        states: Iterable[dict[str, Tensor]],
        look: Look | None = None,
    ) -> None:
        self.config, self.device, self._look = config, device, look
        self._kind = config.targets.kind
        self.batch_size = config.predict.batch_size
        self._symmetries = SYMMETRIES[config.predict.tta]
        self._networks = [device.place(built).eval() for built in build_networks(config, states)]
        self._batching = BATCHING["cuda" if device.is_cuda else "cpu"]
        self.batches_at_once = 1 if look is None else self._batching.batches_at_once
        self.work = Work(len(self._networks) * len(self._symmetries))

    @property
    def stride(self) -> int:
        """Of the networks, px."""
        return self._networks[0].stride

    @torch.inference_mode()
    def __call__(self, images_nchw: Tensor, most_px: int | None = None) -> Chances:
        """Predict uint8 (N, 3, H, W).

        Args:
            images_nchw: One batch, or several together where there is a `Look`.
            most_px: Pixels that pass through a network at a time, if an image has no more; None:
                those of `batch_size` such images.

        Raises:
            ConfigError: Memory does not suffice for so many images.
        """
        count, _, height, width = images_nchw.shape
        room = self.device.room_for(
            f"predict.batch_size: {min(count, self.batch_size)} images of {height} x {width} px",
            advice="Lower predict.batch_size; where that is 1 already, set machine.device=cpu.",
        )
        with room, self.device.autocast():
            inputs = self.device.move(images_nchw)
            if self._look is None:
                return self._mean(inputs)
            most_px = most_px or self.batch_size * height * width
            return self._look_again(inputs, self._look, most_px)

    def _mean(self, inputs_nchw: Tensor) -> Chances:
        each = [
            mean_probability(network, inputs_nchw, self._symmetries, self._kind)
            for network in self._networks
        ]
        if len(each) == 1:
            return each[0]
        heads = [one.image for one in each if one.image is not None]
        return Chances(
            torch.stack([one.maps_nchw for one in each]).mean(0),
            torch.stack(heads).mean(0) if heads else None,
        )

    def _look_again(self, inputs_nchw: Tensor, look: Look, most_px: int) -> Chances:
        """Return the first pass, and where it leaves an object possible the mean of all passes."""
        first, *others = self._networks
        as_it_is, *turned = self._symmetries
        count = min(max(most_px // inputs_nchw.shape[2:].numel(), 1), self.batch_size)
        each = [
            mean_probability(first, some_nchw, (as_it_is,), self._kind)
            for some_nchw in torch.split(inputs_nchw, count)
        ]
        first_nchw = torch.cat([one.maps_nchw for one in each])
        heads = [one.image for one in each if one.image is not None]
        possible_nhw = without_borders(first_nchw, self._kind).amax(1)
        regions = find_regions(possible_nhw, look, self.stride, self._batching.side_px)
        self.work.add(regions, first_nchw.shape[2:].numel())
        maps_nchw = first_nchw.clone()
        passes = [(first, tuple(turned)), *((network, self._symmetries) for network in others)]
        symmetries_px = min(self._batching.symmetries_px, most_px)
        for some in _batches(regions, most_px):
            windows_nchw = torch.stack([inputs_nchw[n, :, *one.window.slices] for n, one in some])
            total_nchw = torch.stack([first_nchw[n, :, *one.window.slices] for n, one in some])
            at_once = max(symmetries_px // windows_nchw[:, 0].numel(), 1)
            for network, symmetries in passes:
                mean_nchw = mean_probability(
                    network, windows_nchw, symmetries, self._kind, at_once=at_once
                ).maps_nchw
                total_nchw += mean_nchw * len(symmetries)
            total_nchw /= self.work.passes
            for (n, one), mean_chw in zip(some, total_nchw, strict=True):
                maps_nchw[n, :, *one.core.slices] = mean_chw[:, *one.core.within(one.window).slices]
        return Chances(maps_nchw, torch.cat(heads) if heads else None)


def build_networks(
    config: Config, states: Iterable[dict[str, Tensor]]
) -> Iterator[SegmentationNetwork]:
    """Yield a run's networks, each with a state of its own.

    Raises:
        ArtifactError: A state is that of another network.
    """
    outputs = channels(config.targets.kind, len(config.task.classes))
    for state in states:
        yield build_trained(config.network, outputs, state, image_head=config.image_head.weight > 0)


def _batches(
    regions: Sequence[Sequence[Region]], most_px: int
) -> Iterator[list[tuple[int, Region]]]:
    """Yield regions of all images, each with its image's number, whose windows have one size."""
    by_shape: dict[tuple[int, int], list[tuple[int, Region]]] = {}
    for number, of_image in enumerate(regions):
        for one in of_image:
            by_shape.setdefault(one.window.shape, []).append((number, one))
    for (height, width), same in by_shape.items():
        count = max(most_px // (height * width), 1)
        yield from (same[first : first + count] for first in range(0, len(same), count))
