"""The metrics by their keys."""

from pipeline.errors import ConfigError
from pipeline.metrics.average_precision import AveragePrecision, MaskAveragePrecision
from pipeline.metrics.dice import Dice, GlobalDice
from pipeline.metrics.f2 import F2
from pipeline.metrics.metric import Metric

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (F2(), AveragePrecision(), MaskAveragePrecision(), Dice(), GlobalDice())
}


def find_metric(key: str) -> Metric:
    """Return the metric of a key.

    Raises:
        ConfigError: There is none.
    """
    if key not in METRICS:
        raise ConfigError(f"metric: expected one of {', '.join(METRICS)}, got {key!r}.")
    return METRICS[key]
