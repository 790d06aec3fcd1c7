"""The metrics by their keys."""

from pipeline.errors import ConfigError
from pipeline.metrics.average_precision import (
    AveragePrecision,
    MaskAveragePrecision,
    PooledAveragePrecision,
)
from pipeline.metrics.dice import Dice, GlobalDice
from pipeline.metrics.f2 import F2
from pipeline.metrics.metric import Metric

OBJECTS = F2(), AveragePrecision(), PooledAveragePrecision()
MASKS = MaskAveragePrecision(), Dice(), GlobalDice()
METRICS: dict[str, Metric] = {metric.key: metric for metric in (*OBJECTS, *MASKS)}


def find_metric(key: str) -> Metric:
    """Return the metric of a key.

    Raises:
        ConfigError: There is none.
    """
    if key not in METRICS:
        raise ConfigError(f"metric: expected one of {', '.join(METRICS)}, got {key!r}.")
    return METRICS[key]
