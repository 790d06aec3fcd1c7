"""Test-time augmentation: the symmetries of the square, each with its inverse.

From above, no direction is special, so a network's probabilities may be averaged over the eight
ways to turn and mirror an image, each turned back (the dihedral group D4). How far the eight
disagree says how sure their mean is, so it goes with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from pipeline.data.targets import probabilities
from pipeline.networks.build import Prediction

__all__ = ["SYMMETRIES", "Chances", "Symmetry", "mean_probability"]


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
        maps_nchw: Probability of ship; of contact, if networks tell it; last, if there are several
            symmetries, their `disagreement`: the standard deviation of the probability of ship over
            them, 0..0.5; float32 (N, 1 to 3, H, W).
        image: Probability of any ship, (N,); None from networks without an image head.
        disagreement: Whether the last map is that.
    """

    maps_nchw: torch.Tensor
    image: torch.Tensor | None
    disagreement: bool = False


def mean_probability(
    network: Callable[[torch.Tensor], Prediction],
    images_nchw: torch.Tensor,
    symmetries: tuple[Symmetry, ...],
    kind: str,
) -> Chances:
    """Average the probabilities of ship and contact, and of any ship, over `symmetries`.

    Args:
        network: Predicts logits (N, C, H, W) from images.
        images_nchw: (N, 3, H, W).
        symmetries: One of `SYMMETRIES`.
        kind: Of the targets that the network was trained on.

    Returns:
        In 0..1; with disagreement where there is more than one symmetry.
    """
    total: torch.Tensor | None = None
    squares: torch.Tensor | None = None
    images: list[torch.Tensor] = []
    for symmetry in symmetries:
        prediction = network(symmetry.apply(images_nchw))
        probability = symmetry.undo(probabilities(prediction.logits_nchw, kind))
        if len(symmetries) > 1:
            ship = probability[:, :1]
            squares = ship.square() if squares is None else squares.addcmul_(ship, ship)
        total = probability if total is None else total.add_(probability)
        if prediction.image_logits is not None:
            images.append(prediction.image_logits.float().sigmoid())
    if total is None:
        raise ValueError("expected at least one symmetry, got none")
    mean_nchw = total.div_(len(symmetries))
    image = torch.stack(images).mean(0) if images else None
    if squares is None:
        return Chances(mean_nchw, image)
    variance = squares.div_(len(symmetries)).sub_(mean_nchw[:, :1].square()).clamp_(min=0)
    return Chances(torch.cat([mean_nchw, variance.sqrt_()], 1), image, disagreement=True)
