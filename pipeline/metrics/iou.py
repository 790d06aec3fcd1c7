"""The ten IoU thresholds 0.50, 0.55, ..., 0.95, in whole numbers."""

import numpy as np

from pipeline.metrics.metric import Integers

THRESHOLDS = 10


def hits_from_areas(intersection_px: Integers, union_px: Integers) -> Integers:
    """Count the thresholds t that an IoU is greater than, 0..10, in whole numbers.

    IoU > t is 20 intersection > 20 t union with 20 t in 10..19, and no rounding enters.
    """
    hits: Integers = np.clip(-(-20 * intersection_px // union_px) - 10, 0, THRESHOLDS)
    return hits
