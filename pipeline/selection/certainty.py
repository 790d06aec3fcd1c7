"""How sure a network is of an image, where nobody knows the truth.

An image with objects is as sure as the outlines that it would get at a low and at a high level of
probability are alike; one without is as sure as its highest probability is low.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.maps import MAX_LEVEL, ImageMaps, as_level
from pipeline.masks.rle import Labels


@dataclass(frozen=True)
class Certainty:
    """Of one image.

    Attributes:
        iou: Of the pixels that reach the low level and those that reach the high one, of the least
            sure class with objects; None where no class has any.
        max_probability: Of the classes in which no object was found; 0 where all have some.
    """

    iou: float | None
    max_probability: float

    def suffices(self, min_iou: float, max_empty: float) -> bool:
        """Tell whether both are good enough to learn from."""
        return (self.iou is None or self.iou >= min_iou) and self.max_probability <= max_empty


def certainty(
    maps: Mapping[str, ImageMaps], found: Mapping[str, Labels | None], low: float, high: float
) -> Certainty:
    """Measure an image's.

    Args:
        maps: Of each class.
        found: The objects of each class, int32 (h, w); None or 0 everywhere for none.
        low: Probability that the larger mask reaches.
        high: The same of the smaller one, which lies within it: their IoU is a ratio of areas.
    """
    ious: list[float] = []
    highest = 0.0
    for class_id, of_class in maps.items():
        labels_hw = found[class_id]
        if labels_hw is None or not labels_hw.any():
            highest = max(highest, int(of_class.prob_hw.max()) / MAX_LEVEL)
            continue
        areas_px = [int((of_class.prob_hw >= as_level(level)).sum()) for level in (low, high)]
        ious.append(areas_px[1] / max(areas_px[0], 1))
    return Certainty(min(ious, default=None), highest)
