"""How likely an object that was found is a true one: P(IoU > 0.5), from the levels of its pixels.

Calibration fits a straight line through the logits of their mean and of their maximum, which alone
is 255 of 255 where networks are sure. Nothing else enters, so an object is as likely whatever else
the image shows and however large it is drawn. On the demo the area, the image's edge, the deviation
and the mean along the contour took less off the cross-fitted log loss than the standard error of
what they took; the pixels around the object took 1.5 of it, but are not its own. Source: J. Platt,
"Probabilistic outputs for support vector machines" (1999), for line and targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtifactError
from pipeline.maps import MAX_LEVEL, ProbabilityMap
from pipeline.masks.rle import Labels
from pipeline.selection.thresholds import AGAIN

Floats = npt.NDArray[np.float64]


def object_levels(labels_hw: Labels, prob_hw: ProbabilityMap) -> Floats:
    """Return the mean and the maximum level of each object's pixels, float64 (n, 2).

    Args:
        labels_hw: int32 (h, w), 0 for background, 1..n for objects, each with a pixel.
        prob_hw: Levels, uint8 (h, w).
    """
    inside = labels_hw > 0
    owners, levels = labels_hw[inside] - 1, prob_hw[inside]
    highest = np.zeros(owners.max(initial=-1) + 1)
    np.maximum.at(highest, owners, levels)
    return np.stack([np.bincount(owners, levels) / np.bincount(owners), highest], axis=1)


def logits(levels: Floats) -> Floats:
    """Return the logits of levels, finite for 0 and MAX_LEVEL, too."""
    odds: Floats = np.log((levels + 0.5) / (MAX_LEVEL + 0.5 - levels))
    return odds


@dataclass(frozen=True)
class Confidence:
    """The line through the logits of mean and maximum; its value is the logit of the chance."""

    bias: float
    mean_weight: float
    max_weight: float

    def of(self, levels: Floats) -> Floats:
        """Return the chance of each object, float64 (n,), from its `object_levels`."""
        line = self.bias + logits(levels) @ [self.mean_weight, self.max_weight]
        chance: Floats = 1 / (1 + np.exp(-line))
        return chance


def read_confidence(
    value: dict[str, Any], classes: Sequence[str], source: str
) -> dict[str, Confidence | None]:
    """Return the confidence of each class, None where too few objects were found to fit one.

    Args:
        value: What confidence.json holds.
        classes: That it must be of.
        source: For messages.

    Raises:
        ArtifactError: It is of other classes, or of another version.
    """
    try:
        lines = {name: value[name]["confidence"] for name in classes}
        return {name: None if line is None else Confidence(**line) for name, line in lines.items()}
    except (KeyError, TypeError):
        raise ArtifactError(
            f"{source}: expected the confidence of {', '.join(classes)}. It is of another "
            f"competition or version. {AGAIN}"
        ) from None
