"""The out-of-fold score of all classes together, by rules that were chosen for each.

Each class's rules are chosen on its own layers. Where the metric pools the classes of an image,
that is not quite what is scored here: a false object in an image with objects of other classes
alone costs such a layer all, and the image a little.
"""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.calibration.calibrate import Calibration
from pipeline.metrics.matching import Matches, match_objects
from pipeline.metrics.metric import score
from pipeline.metrics.summaries import summarise


def score_together(
    found: dict[str, Calibration], truth: pd.DataFrame, instances: pd.DataFrame, folds: pd.DataFrame
) -> tuple[dict[str, Any], Matches]:
    """Score the cross-fitted objects of all classes.

    Args:
        found: Of each class.
        truth: Instances of all classes.
        instances: The cross-fitted objects of all classes.
        folds: `ImageId`, `fold`, `group`.

    Returns:
        `Calibration.scores` of all, and `classes` with those of each where there are several; and
        how the objects compare to the truth.
    """
    first, *others = found.values()
    if not others:
        return first.scores, first.matches
    metric = first.matches.metric
    matches = match_objects(truth, instances, *first.matches.shape, metric)
    of = folds.set_index("ImageId").loc[matches.images["ImageId"]]
    scores = summarise(matches, of["fold"].to_numpy(), of["group"].to_numpy())
    by_class = zip(*(one.in_sample for one in found.values()), strict=True)
    in_sample = (sum(each) if metric.pools_classes else np.concatenate(each) for each in by_class)
    scores[f"{metric.key}_in_sample"] = score(metric.terms(*in_sample))
    return scores | {"classes": {name: one.scores for name, one in found.items()}}, matches
