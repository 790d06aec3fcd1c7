"""Test-time augmentation: the symmetries of the square, each with its inverse.

From above, no direction is special, so a network's probabilities may be averaged over the eight
ways to turn and mirror an image, each turned back (the dihedral group D4).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipeline.data.targets import probabilities
from pipeline.networks.build import Prediction

__all__ = ["SYMMETRIES", "Symmetry", "mean_probability"]


@dataclass(frozen=True)
class Symmetry:
    """Mirror left to right if `mirror`, then turn by `quarters` quarter turns."""

    mirror: bool
    quarters: int

    def apply(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, H, W) into (N, C, H, W), or (N, C, W, H) for an odd number of quarters."""
        if self.mirror:
            images_nchw = images_nchw.flip(3)
        return images_nchw.rot90(self.quarters, (2, 3))

    def undo(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """Invert `apply`."""
        images_nchw = images_nchw.rot90(-self.quarters, (2, 3))
        return images_nchw.flip(3) if self.mirror else images_nchw


SYMMETRIES = {
    "none": (Symmetry(mirror=False, quarters=0),),
    "flips": tuple(Symmetry(mirror, quarters) for mirror in (False, True) for quarters in (0, 2)),
    "d4": tuple(Symmetry(mirror, quarters) for mirror in (False, True) for quarters in range(4)),
}


def mean_probability(
    network: Callable[[torch.Tensor], Prediction],
    images_nchw: torch.Tensor,
    symmetries: tuple[Symmetry, ...],
    kind: str,
) -> torch.Tensor:
    """Average the probabilities of ship and contact over `symmetries`.

    Args:
        network: Predicts logits (N, C, H, W) from images.
        images_nchw: (N, 3, H, W).
        symmetries: One of `SYMMETRIES`.
        kind: Of the targets that the network was trained on.

    Returns:
        float32 (N, 1, H, W) for the kind `ship`, else (N, 2, H, W), in 0..1.
    """
    total: torch.Tensor | None = None
    for symmetry in symmetries:
        logits_nchw = network(symmetry.apply(images_nchw)).logits_nchw
        probability = symmetry.undo(probabilities(logits_nchw, kind))
        total = probability if total is None else total + probability
    if total is None:
        raise ValueError("expected at least one symmetry, got none")
    return total / len(symmetries)
