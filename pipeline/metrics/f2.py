"""F2 over IoU: per image and threshold t in {0.50, 0.55, ..., 0.95} 5 TP / (5 TP + 4 FN + FP).

The mean over the ten t is the image's score, the mean over images the metric. No object and none
predicted is 1; objects on one side alone are 0. 5 TP + 4 FN + FP = 4 (TP + FN) + (TP + FP) does not
depend on t: with `hits` the sum of TP over the ten t, the score is
hits / (2 (4 n_true + n_predicted)).

Source: https://www.kaggle.com/competitions/airbus-ship-detection/overview/evaluation
"""

import numpy as np
import numpy.typing as npt

from pipeline.metrics.metric import Floats, Integers, Metric, mean_of


class F2(Metric):
    """Mean F2 over IoU; parts: 1 and the object's hits."""

    key = "f2"
    label = "F2"
    of_objects = True
    object_key = "ship"  # since the first stored runs

    def parts(self, hits: Integers, area_px: Integers, shared_px: Integers) -> Integers:
        """See `Metric`."""
        return np.stack([np.ones_like(hits), hits], axis=1)

    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """See `Metric`."""
        n_predicted, hits = sums.T
        return mean_of(f2_from_counts(hits, n_true, n_predicted))


def f2_from_counts(
    hits: npt.ArrayLike, n_true: npt.ArrayLike, n_predicted: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return each image's score from its hits over the ten thresholds and its numbers of objects.

    Arrays of one shape, or numbers. 1 where both numbers are 0, 0 where only one is.
    """
    whole = 2 * (4 * np.asarray(n_true, np.int64) + np.asarray(n_predicted, np.int64))
    score: npt.NDArray[np.float64] = np.where(whole == 0, 1.0, hits / np.maximum(whole, 1))
    return score
