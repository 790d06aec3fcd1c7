"""Average precision over the IoU thresholds t in {0.50, 0.55, ..., 0.95}, of objects or one mask.

Per image and t the precision is TP / (TP + FP + FN), where a hit needs an IoU greater than t; the
mean over the ten t is the image's score, the mean over images the metric. Nothing true and nothing
predicted is 1; one of both alone is 0.

The TP of the denominator make the expected score of a choice of objects more than a sum of the
hits to expect of each, which is what makes F2's best choice easy to find: no candidate selection is
learnt for it.

Sources: https://www.kaggle.com/competitions/sartorius-cell-instance-segmentation/overview/evaluation,
https://www.kaggle.com/competitions/tgs-salt-identification-challenge/overview/evaluation
"""

import numpy as np

from pipeline.metrics.iou import THRESHOLDS, hits_from_areas
from pipeline.metrics.metric import Floats, Integers, MaskMetric, Metric, mean_of


class AveragePrecision(Metric):
    """Of the objects of a class; parts: 1, and whether it hits at each t."""

    key = "ap"
    label = "average precision"
    of_objects = True

    def parts(self, hits: Integers, area_px: Integers, shared_px: Integers) -> Integers:
        """See `Metric`."""
        return (hits[:, None] > np.arange(-1, THRESHOLDS)).astype(np.int64)

    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """See `Metric`."""
        n_predicted, found = sums[:, :1], sums[:, 1:]
        whole = n_true[:, None] + n_predicted - found
        return mean_of(np.where(whole == 0, 1.0, found / np.maximum(whole, 1)).mean(axis=1))


class PooledAveragePrecision(AveragePrecision):
    """Of objects of all classes together, whatever class is predicted."""

    key = "pooled_ap"
    pools_classes = True


class MaskAveragePrecision(MaskMetric):
    """Of the one mask of an image: the share of thresholds that its IoU exceeds."""

    key = "mask_ap"
    label = "average precision"

    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """See `Metric`."""
        predicted_px, both_px = sums.T
        union_px = predicted_px + true_px - both_px
        hits = hits_from_areas(both_px, np.maximum(union_px, 1))
        return mean_of(np.where(union_px == 0, 1.0, hits / THRESHOLDS))
