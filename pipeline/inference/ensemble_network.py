"""The networks of several runs as one, for images that no run has predicted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.compute.device import Device
from pipeline.config.schema import Config, Ensemble
from pipeline.inference.ensemble import mean_layers
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import as_maps
from pipeline.inference.probmaps import rises_above
from pipeline.inference.tta import Chances
from pipeline.maps import MAX_LEVEL, ImageMaps


class EnsembleNetwork:
    """The networks of several runs as one: what they would store is averaged as stored maps are.

    So its answer has the 256 levels of a map, and that of an image as large as a window is the
    ensemble's own.

    Args:
        config: Of the run that averages.
        ensemble: What is averaged.
        networks: Of each run.
        shape: Height and width of the maps to average, px, where they are smaller than the image.

    Attributes:
        config: As given.
        device: Where the first of them computes.
        batch_size: Images in a forward pass.
        batches_at_once: See `MeanNetwork`.
    """

    batches_at_once = 1

    def __init__(
        self,
        config: Config,
        ensemble: Ensemble,
        networks: Sequence["Network"],
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.config, self._ensemble = config, ensemble
        self._networks, self._shape = networks, shape
        self.device: Device = networks[0].device
        self.batch_size: int = min(network.batch_size for network in networks)

    def __call__(self, images_nchw: Tensor, most_px: int | None = None) -> Chances:
        """Predict uint8 (N, 3, H, W), as `MeanNetwork` does.

        Raises:
            ArtifactError: A probability is not a number.
            ConfigError: Memory does not suffice for so many images.
        """
        objects = self.config.task.objects
        each = [self._stored(network, images_nchw, most_px) for network in self._networks]
        means = [mean_layers(of, self._ensemble, objects=objects) for of in zip(*each, strict=True)]
        maps = [
            [one.prob_hw for one in layers]
            + [one.contact_hw for one in layers if one.contact_hw is not None]
            for layers in means
        ]
        heads = [layers[0].image_prob for layers in means]
        return Chances(
            torch.from_numpy(np.array(maps)).float() / MAX_LEVEL,
            None if heads[0] is None else torch.tensor(heads),
        )

    def _stored(
        self, network: "Network", images_nchw: Tensor, most_px: int | None
    ) -> Iterator[list[ImageMaps]]:
        """Yield the maps of each image as a run reads them: 0 where they stay below its floor."""
        chances = network(images_nchw, most_px)
        if self._shape is not None:
            maps_nchw = adaptive_avg_pool2d(chances.maps_nchw, self._shape)
            chances = chances._replace(maps_nchw=maps_nchw)
        paths = [Path("an image")] * len(images_nchw)
        for layers in as_maps(chances, paths, network.config):
            kept = rises_above(layers, network.config.predict.floor)
            yield layers if kept else [_background(one) for one in layers]


def _background(maps: ImageMaps) -> ImageMaps:
    empty_hw = np.zeros_like(maps.prob_hw)
    contact_hw = None if maps.contact_hw is None else empty_hw
    return replace(maps, prob_hw=empty_hw, contact_hw=contact_hw)


Network = MeanNetwork | EnsembleNetwork
"""What turns uint8 (N, 3, H, W) into `Chances`."""
