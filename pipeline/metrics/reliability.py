"""Whether chances are true: of the objects that are true with a chance of 0.8, are 80 %?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.metric import Floats
from pipeline.seeds import generator

BINS = 10
DRAWS = 200


def reliability(chance: Floats, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Compare chances with what came true, as a JSON object.

    It has the Brier score, beside that of the same share for all objects; the expected calibration
    error over ten bins of equal width, beside its mean and its 95th percentile were the chances
    true, since it is above 0 even then; and those of the bins that hold objects.
    """
    place = np.minimum((chance * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    total = np.bincount(place, chance, BINS)
    hits = np.bincount(place, right, BINS)

    def error(hits: npt.NDArray[Any]) -> float:
        return float(np.abs(hits - total).sum() / len(right))

    rng = generator(0, "calibration error of true chances")
    draws = [
        error(np.bincount(place, rng.random(len(chance)) < chance, BINS)) for _ in range(DRAWS)
    ]
    share = right.mean()
    return {
        "brier": float(np.mean((chance - right) ** 2)),
        "brier_of_share": float(share * (1 - share)),
        "calibration_error": error(hits),
        "calibration_error_by_chance": float(np.mean(draws)),
        "calibration_error_by_chance_p95": float(np.quantile(draws, 0.95)),
        "bins": [
            {
                "from": bin_ / BINS,
                "to": (bin_ + 1) / BINS,
                "objects": int(count[bin_]),
                "confidence": float(total[bin_] / count[bin_]),
                "right": float(hits[bin_] / count[bin_]),
            }
            for bin_ in np.flatnonzero(count).tolist()
        ],
    }


def in_words(record: Mapping[str, Any] | None) -> str:
    """Say how true a class's confidence is, from what confidence.json holds of it."""
    if record is None:
        return "unknown, calibrated by a version without it"
    found = f"{record['right']} of {record['objects']} objects found are true"
    if record["reliability"] is None:
        return f"none: {found}, too few objects to fit it on"
    return (
        "{found}; Brier score {brier:.4f} ({brier_of_share:.4f} if all were as likely), "
        "calibration error {calibration_error:.4f} ({calibration_error_by_chance:.4f} if it were "
        "true)"
    ).format(found=found, **record["reliability"])
