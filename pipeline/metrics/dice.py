"""Dice coefficients 2|X ∩ Y| / (|X| + |Y|): the mean over images and classes, or one of all pixels.

Two empty masks agree: 1.

Why no candidate selection is learnt for metrics of the union: of all sets of n pixels, each true
with a probability p, the one with the largest ratio D = 2 Σ p / (n + |true|) holds the pixels with
p above D / 2, since one more lifts the ratio as long as its own, 2 p / 1, is above it. So the best
set is what a single threshold gives, half the best score where probabilities are right, and the
search over thresholds finds it where they are not. What a threshold for all images cannot do,
leaving an image empty, the image filters do.

Sources: https://www.kaggle.com/competitions/severstal-steel-defect-detection/overview/evaluation
(the mean);
https://www.kaggle.com/competitions/google-research-identify-contrails-reduce-global-warming/overview/evaluation
(of all pixels); Lipton, Elkan, Naryanaswamy 2014, Optimal Thresholding of Classifiers to Maximize
F1 Measure (half the best score).
"""

import numpy as np

from pipeline.metrics.metric import Floats, Integers, MaskMetric, mean_of, ratios


class Dice(MaskMetric):
    """Mean over images and classes."""

    key = "dice"
    label = "Dice"

    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """See `Metric`."""
        return mean_of(ratios(_pixels(sums, true_px)))


class GlobalDice(MaskMetric):
    """Of the pixels of all images together."""

    key = "global_dice"
    label = "global Dice"
    is_mean = False

    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """See `Metric`."""
        return _pixels(sums, true_px)


def _pixels(sums: Integers, true_px: Integers) -> Floats:
    predicted_px, both_px = sums.T
    return np.stack([2 * both_px, predicted_px + true_px]).astype(np.float64)
