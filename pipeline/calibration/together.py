"""Rules for each of several classes, and the out-of-fold score of all together.

Where the metric pools the classes of an image, a class's rules are chosen beside what the others'
rules find: a false object costs an image with objects of other classes a little, and an image
without any all. So each class is fitted twice, first by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.calibration.calibrate import Calibration
from pipeline.calibration.search import Sums
from pipeline.metrics.matching import Matches, match_objects
from pipeline.metrics.metric import Metric, score
from pipeline.metrics.summaries import summarise


def calibrate_classes(
    classes: Sequence[str], metric: Metric, fit: Callable[[str, Sums | None], Calibration]
) -> dict[str, Calibration]:
    """Choose the rules of each class.

    Args:
        classes: Their ids.
        metric: The metric in force.
        fit: Calibrates a class beside what others find; None: by itself.
    """
    found = {class_id: fit(class_id, None) for class_id in classes}
    if metric.pools_classes and len(classes) > 1:
        for class_id in classes:
            others = [one.held_out for name, one in found.items() if name != class_id]
            sums, n_true, true_px = (np.sum(each, axis=0) for each in zip(*others, strict=True))
            found[class_id] = fit(class_id, (sums, n_true, true_px))
    return found


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
    matches = match_objects(truth, instances, first.matches.sizes, metric)
    of = folds.set_index("ImageId").loc[matches.images["ImageId"]]
    scores = summarise(matches, of["fold"].to_numpy(), of["group"].to_numpy())
    by_class = zip(*(one.in_sample for one in found.values()), strict=True)
    in_sample = (sum(each) if metric.pools_classes else np.concatenate(each) for each in by_class)
    scores[f"{metric.key}_in_sample"] = score(metric.terms(*in_sample))
    return scores | {"classes": {name: one.scores for name, one in found.items()}}, matches
