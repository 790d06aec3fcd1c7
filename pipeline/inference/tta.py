"""Test-time augmentation: the symmetries of the square, each with its inverse.

From above, no direction is special, so a network's probabilities may be averaged over the eight
ways to turn and mirror an image, each turned back (the dihedral group D4).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from pipeline.data.targets import probabilities
from pipeline.networks.build import Prediction


@dataclass(frozen=True)
class Symmetry:
    """Mirror left to right if `mirror`, then turn by `quarters` quarter turns."""

    mirror: bool
    quarters: int

    def apply(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, H, W) into (N, C, H, W), or (N, C, W, H) for an odd number of quarters."""
        if self.mirror:
            images_nchw = images_nchw.flip(3)
        return images_nchw.rot90(self.quarters, (2, 3)) if self.quarters else images_nchw

    def undo(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """Invert `apply`."""
        if self.quarters:
            images_nchw = images_nchw.rot90(-self.quarters, (2, 3))
        return images_nchw.flip(3) if self.mirror else images_nchw


SYMMETRIES = {
    "none": (Symmetry(mirror=False, quarters=0),),
    "flips": tuple(Symmetry(mirror, quarters) for mirror in (False, True) for quarters in (0, 2)),
    "d4": tuple(Symmetry(mirror, quarters) for mirror in (False, True) for quarters in range(4)),
}


class Chances(NamedTuple):
    """What networks say of images.

    Attributes:
        maps_nchw: Probability of object and, if networks tell it, of contact, 0..1, float32
            (N, 1 or 2, H, W).
        image: Probability of any object, (N,); None from networks without an image head.
    """

    maps_nchw: torch.Tensor
    image: torch.Tensor | None


def mean_probability(
    network: Callable[[torch.Tensor], Prediction],
    images_nchw: torch.Tensor,
    symmetries: tuple[Symmetry, ...],
    kind: str,
    *,
    at_once: int = 1,
) -> Chances:
    """Average the probabilities of object and contact, and of any object, over `symmetries`.

    Args:
        network: Predicts logits (N, C, H, W) from images.
        images_nchw: (N, 3, H, W).
        symmetries: One of `SYMMETRIES`.
        kind: Of the targets that the network was trained on.
        at_once: How many symmetries make one batch, of those that give the images one shape.
    """
    total: torch.Tensor | None = None
    images: list[torch.Tensor] = []
    for some in _batches(symmetries, images_nchw.shape, at_once):
        prediction = network(torch.cat([one.apply(images_nchw) for one in some]))
        each = probabilities(prediction.logits_nchw, kind).chunk(len(some))
        for symmetry, turned_nchw in zip(some, each, strict=True):
            probability = symmetry.undo(turned_nchw)
            total = probability if total is None else total.add_(probability)
        if prediction.image_logits is not None:
            images += prediction.image_logits.float().sigmoid().chunk(len(some))
    if total is None:
        raise ValueError("expected at least one symmetry, got none")
    image = torch.stack(images).mean(0) if images else None
    return Chances(total.div_(len(symmetries)), image)


def _batches(
    symmetries: tuple[Symmetry, ...], shape: torch.Size, at_once: int
) -> Iterator[tuple[Symmetry, ...]]:
    if at_once == 1 or shape[2] == shape[3]:
        same = [symmetries]
    else:
        same = [tuple(one for one in symmetries if one.quarters % 2 == odd) for odd in (0, 1)]
    for each in same:
        yield from (each[first : first + at_once] for first in range(0, len(each), at_once))
