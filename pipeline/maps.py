"""What a network says of one image, as all that follows reads it, and where that is kept.

A probability is kept as a level, an integer 0..255. Here, and nowhere else, one becomes the other,
so that a threshold, a floor and a pixel that say the same are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ProbabilityMap = npt.NDArray[np.uint8]
"""Levels, uint8 (h, w); level / MAX_LEVEL is a probability."""

MAX_LEVEL = 255


def as_level(probability: float) -> int:
    """Return the level of a probability or threshold in 0..1, ties to even."""
    return round(MAX_LEVEL * probability)


def as_levels(probabilities: "Tensor") -> "Tensor":
    """Return the levels, uint8, of probabilities in 0..1 of any shape, ties to even."""
    return (probabilities * MAX_LEVEL).round_().byte()


def map_path(folder: Path, image_id: str, *, by_stem: bool = False) -> Path:
    """Return where a job keeps the map of an image.

    Args:
        folder: The job's.
        image_id: May lead into folders. Their names end in `_`, so that no map's file is in the way
            of one.
        by_stem: As up to version 0.2.0, whose index has no SHA-256: two images shared a file if
            only their folders or endings differed.
    """
    name = Path(image_id).stem if by_stem else image_id.replace("/", "_/")
    return folder / "maps" / f"{name}.png"


@dataclass(frozen=True)
class ImageMaps:
    """What a network says of one class of objects in one image.

    Attributes:
        prob_hw: Levels of the probability of object, uint8 (h, w).
        contact_hw: Of contact, likewise; None from a network without the channel.
        image_prob: Probability of any object, 0..1; None from a network without an image head.
    """

    prob_hw: ProbabilityMap
    contact_hw: ProbabilityMap | None = None
    image_prob: float | None = None


def exclusive(layers: Sequence[ImageMaps]) -> list[ImageMaps]:
    """Leave each pixel to the class that is surest of it, of equals the first.

    Args:
        layers: The maps of one image's classes, of one size.
    """
    if len(layers) == 1:
        return [*layers]
    surest_hw = np.argmax([one.prob_hw for one in layers], axis=0)
    return [
        replace(one, prob_hw=np.where(surest_hw == number, one.prob_hw, 0).astype(np.uint8))
        for number, one in enumerate(layers)
    ]
