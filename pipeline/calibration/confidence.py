"""Out-of-fold objects -> how likely such an object is a true one, and how true that is.

The line for the test images is fitted on the objects of all folds; what is said of it is measured
on each fold by the line fitted on the others.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.metrics.matching import Matches
from pipeline.metrics.metric import Floats, Integers
from pipeline.metrics.reliability import reliability
from pipeline.selection.confidence import Confidence, logits
from pipeline.selection.submission import Drawn

MIN_OBJECTS = 50
"""To fit a line on."""

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConfidenceFit:
    """What was fitted for one class.

    Attributes:
        confidence: On the objects of all folds; None for too few of them.
        objects: How many there are.
        right: How many have an IoU above 0.5 with a true one.
        reliability: What `reliability` says of each object's chance by the line fitted on the other
            folds; None without a line.
    """

    confidence: Confidence | None
    objects: int
    right: int
    reliability: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def confidence_of(drawn: Drawn, matches: Matches, folds: Integers) -> ConfidenceFit:
    """Fit on the objects of a class.

    Args:
        drawn: The out-of-fold objects.
        matches: How they compare to the truth, image by image.
        folds: Of each image of `matches`.
    """
    owners = drawn.instances["ImageId"][drawn.instances["EncodedPixels"] != ""]
    image = pd.Index(matches.images["ImageId"]).get_indexer(pd.Index(owners))
    order = image.argsort(kind="stable")
    right = matches.predicted_ships["hits"].to_numpy() > 0
    return fit_confidence(drawn.levels[order], right, folds[image[order]])


def fit_confidence(levels: Floats, right: Right, folds: Integers) -> ConfidenceFit:
    """Fit on out-of-fold objects.

    Args:
        levels: `object_levels` of each, (n, 2).
        right: Whether its IoU with a true one is above 0.5, (n,).
        folds: Of its image, (n,).
    """
    others = {fold: folds != fold for fold in np.unique(folds).tolist()}
    if min((rows.sum() for rows in others.values()), default=0) < MIN_OBJECTS:
        return ConfidenceFit(None, len(right), int(right.sum()), None)
    held_out = np.empty(len(right))
    for rows in others.values():
        held_out[~rows] = _fit(levels[rows], right[rows]).of(levels[~rows])
    told = reliability(held_out, right)
    return ConfidenceFit(_fit(levels, right), len(right), int(right.sum()), told)


def _fit(levels: Floats, right: Right) -> Confidence:
    """Fit a line to Platt's targets, which are never quite 0 or 1: all objects may be right."""
    from sklearn.linear_model import LogisticRegression

    count = right.sum()
    target = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    twice, outcome = np.tile(logits(levels), (2, 1)), np.repeat([True, False], len(right))
    model = LogisticRegression().fit(twice, outcome, np.concatenate([target, 1 - target]))
    return Confidence(float(model.intercept_[0]), *model.coef_[0].tolist())
