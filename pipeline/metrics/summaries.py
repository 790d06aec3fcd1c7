"""What a table of scored objects says in a few numbers: the score to expect, and where it is lost.

The matches of `pipeline.metrics.matching` enter, a JSON object leaves, its figures named by the
metric's key, here `f2`. Scores of nothing (no empty image, no object of a size) are null.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.iou import THRESHOLDS
from pipeline.metrics.matching import Matches
from pipeline.metrics.metric import Floats, Integers, Metric, add_up, ratios, score

SIZES_PX = (0, 100, 400, 1500, 5000)  # about the quartiles of Airbus's masks, and p90
COUNTS = (1, 2, 3, 5, 10)
AREA_SHARES = (0.0, 0.01, 0.05, 0.2, 0.5)
OBJECT_SHARES = (0.23, 0.48)  # of images, about Airbus's private and public test set's

Chosen = npt.NDArray[np.bool_]


def summarise(
    matches: Matches,
    folds: Integers | None = None,
    groups: npt.NDArray[Any] | None = None,
) -> dict[str, Any]:
    """Summarise the scores of a set of images.

    Args:
        matches: Scored objects.
        folds: Fold of each of `matches.images`, for the spread over folds.
        groups: Scene of each of `matches.images`. Tiles of one scene are no independent evidence,
            so standard errors are taken over scenes; without, over images.

    Returns:
        `f2` over all images with its standard error, `f2_all_empty` (what a submission without
        objects would score), F2 of images with objects and of empty images, per fold, and for
        objects by the share of object images, by the objects' size and by the number of objects in
        the image, for masks by the share of the image that is true. An image is a layer here: one
        class of it, where classes are scored each.
    """
    metric, images, terms = matches.metric, matches.images, matches.terms
    key, word = metric.key, metric.object_key
    n_true = images["n_true"].to_numpy()
    groups = np.arange(len(images)) if groups is None else groups
    with_objects = n_true > 0

    def error(chosen: Chosen | slice) -> float | None:
        if metric.is_mean:
            return standard_error(terms[0, chosen], groups[chosen])
        return jackknife_error(terms[:, chosen], groups[chosen])

    summary: dict[str, Any] = {
        "images": len(images),
        key: score(terms),
        f"{key}_standard_error": error(slice(None)),
        f"{key}_all_empty": score(metric.all_empty(n_true, images["true_px"].to_numpy())),
        f"{word}_images": int(with_objects.sum()),
        f"{key}_{word}_images": score(terms[:, with_objects]),
        f"{key}_{word}_images_standard_error": error(with_objects),
        "empty_images": int((~with_objects).sum()),
        f"{key}_empty_images": score(terms[:, ~with_objects]),
    }
    if folds is not None:
        summary |= _by_fold(metric, terms, with_objects, folds)
    if metric.of_objects:
        summary[f"by_{word}_share"] = _by_object_share(metric, terms, with_objects, groups)
        summary[f"by_{word}_size"] = _by_object_size(matches)
        summary[f"by_{word}_count"] = _by_object_count(metric, terms, n_true)
    else:
        summary["by_area_share"] = _by_area_share(matches)
    return summary


def headline(metric: Metric) -> list[str]:
    """Return the names of the four figures that `in_words` takes, as in `summarise`."""
    key = metric.key
    return [key, f"{key}_{metric.object_key}_images", f"{key}_empty_images", f"{key}_all_empty"]


def in_words(
    metric: Metric,
    score: float,
    object_images: float | None,
    empty_images: float | None,
    all_empty: float,
) -> str:
    """Return the score of a set of images as a stage prints it; "none" for a score of nothing."""
    objects, empty = (
        "none" if each is None else f"{each:.4f}" for each in (object_images, empty_images)
    )
    return (
        f"{metric.label} {score:.4f} (images with objects {objects}, empty images {empty}; "
        f"the all-empty answer {all_empty:.4f})"
    )


def standard_error(values: Floats, groups: npt.NDArray[Any]) -> float | None:
    """Return the standard error of the mean, where values of one group may vary together."""
    group, count = _numbered(groups)
    if count < 2:
        return None
    sums = np.bincount(group, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))


def jackknife_error(terms: Floats, groups: npt.NDArray[Any]) -> float | None:
    """Return the standard error of a ratio of sums, from leaving out a group at a time."""
    group, count = _numbered(groups)
    if count < 2:
        return None
    sums = np.stack([np.bincount(group, weights=each) for each in terms])
    without = ratios(sums.sum(axis=1, keepdims=True) - sums)
    return float(np.sqrt(((without - without.mean()) ** 2).sum() * (count - 1) / count))


def _numbered(groups: npt.NDArray[Any]) -> tuple[Integers, int]:
    """Return the number of each one's group, and how many groups there are."""
    names, group = np.unique(groups, return_inverse=True)
    return group, len(names)


def _by_fold(
    metric: Metric, terms: Floats, with_objects: Chosen, folds: Integers
) -> dict[str, Any]:
    key, of_fold = metric.key, {int(fold): folds == fold for fold in np.unique(folds)}
    rows = {
        str(fold): {
            "images": int(chosen.sum()),
            key: score(terms[:, chosen]),
            f"{key}_{metric.object_key}_images": score(terms[:, chosen & with_objects]),
            f"{key}_empty_images": score(terms[:, chosen & ~with_objects]),
        }
        for fold, chosen in of_fold.items()
    }
    each = np.array([row[key] for row in rows.values()])
    deviation = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return {"folds": rows, f"{key}_fold_deviation": deviation}


def _by_object_share(
    metric: Metric, terms: Floats, with_objects: Chosen, groups: npt.NDArray[Any]
) -> list[dict[str, Any]]:
    """Return the score to expect of the same rules where another share of images has objects."""
    if with_objects.all() or not with_objects.any():
        return []
    rows, key, values = [], metric.key, terms[0]
    for share in OBJECT_SHARES:
        weight = np.where(
            with_objects, share / with_objects.mean(), (1 - share) / (1 - with_objects.mean())
        )
        within = values - np.where(
            with_objects, values[with_objects].mean(), values[~with_objects].mean()
        )
        rows.append(
            {
                f"{metric.object_key}_share": share,
                key: float((weight * values).mean()),
                f"{key}_standard_error": standard_error(weight * within, groups),
                f"{key}_all_empty": 1 - share,
            }
        )
    return rows


def _by_object_size(matches: Matches) -> list[dict[str, Any]]:
    """Return the score with all objects of a size class as one image, and the share found.

    A predicted object counts in the class of the true object it fits best.
    """
    metric, true, found = matches.metric, matches.true_ships, matches.predicted_ships
    size, word = len(SIZES_PX), metric.object_key
    true_class = np.searchsorted(SIZES_PX, true["area_px"], side="right") - 1
    found_class = np.searchsorted(SIZES_PX, found["size_px"], side="right") - 1
    of_true = np.stack([np.ones(len(true), np.int64), true["area_px"], true["hits"]], axis=1)
    n_true, true_px, hits = add_up(of_true, true_class, size).T
    n_found = np.bincount(found_class, minlength=size)
    parts = metric.parts(*(found[name].to_numpy() for name in ("hits", "area_px", "shared_px")))
    values = ratios(metric.terms(add_up(parts, found_class, size), n_true, true_px))
    return [
        {
            "from_px": least,
            "to_px": SIZES_PX[i + 1] - 1 if i + 1 < size else None,
            f"true_{word}s": int(n_true[i]),
            f"predicted_{word}s": int(n_found[i]),
            "found": float(hits[i] / (THRESHOLDS * n_true[i])) if n_true[i] else None,
            metric.key: float(values[i]) if n_true[i] or n_found[i] else None,
        }
        for i, least in enumerate(SIZES_PX)
    ]


def _by_object_count(metric: Metric, terms: Floats, n_true: Integers) -> list[dict[str, Any]]:
    ends = [*COUNTS[1:], np.iinfo(np.int64).max]
    rows = []
    for least, end in zip(COUNTS, ends, strict=True):
        chosen = (n_true >= least) & (n_true < end)
        rows.append(
            {
                f"from_{metric.object_key}s": least,
                f"to_{metric.object_key}s": int(end) - 1 if end in COUNTS else None,
                "images": int(chosen.sum()),
                metric.key: score(terms[:, chosen]),
            }
        )
    return rows


def _by_area_share(matches: Matches) -> list[dict[str, Any]]:
    """Return the score of images with a true mask, by the share of the image that it covers."""
    whole_px = matches.sizes.of(matches.images["ImageId"].tolist()).prod(axis=1)
    share = matches.images["true_px"].to_numpy() / whole_px
    rows = []
    for least, end in zip(AREA_SHARES, [*AREA_SHARES[1:], None], strict=True):
        chosen = (share > 0) & (share >= least) & (share < (end or np.inf))
        rows.append(
            {
                "from_share": least,
                "to_share": end,
                "images": int(chosen.sum()),
                matches.metric.key: score(matches.terms[:, chosen]),
            }
        )
    return rows
