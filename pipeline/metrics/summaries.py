"""What a table of scored objects says in a few numbers: the F2 to expect, and where it is lost.

The matches of `pipeline.metrics.f2` enter, a JSON object leaves. Means over nothing (no empty
image, no object of a size) are null.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.f2 import Matches, f2_from_counts

SHIP_SIZES_PX = (0, 100, 400, 1500, 5000)  # about the quartiles of the competition's masks, and p90
SHIP_COUNTS = (1, 2, 3, 5, 10)
SHIP_SHARES = (0.23, 0.48)  # of images, about the private and the public test set's


def summarise(
    matches: Matches,
    folds: npt.NDArray[np.int64] | None = None,
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
        objects would score), F2 of images with objects and of empty images, per fold, by the share
        of object images, by the objects' size and by the number of objects in the image.
    """
    images = matches.images
    f2, n_true = images["f2"].to_numpy(), images["n_true"].to_numpy()
    groups = np.arange(len(images)) if groups is None else groups
    with_objects = n_true > 0
    summary: dict[str, Any] = {
        "images": len(images),
        "f2": mean(f2),
        "f2_standard_error": standard_error(f2, groups),
        "f2_all_empty": mean(~with_objects),
        "ship_images": int(with_objects.sum()),
        "f2_ship_images": mean(f2[with_objects]),
        "f2_ship_images_standard_error": standard_error(f2[with_objects], groups[with_objects]),
        "empty_images": int((~with_objects).sum()),
        "f2_empty_images": mean(f2[~with_objects]),
    }
    if folds is not None:
        of_fold = {int(fold): folds == fold for fold in np.unique(folds)}
        summary["folds"] = {
            str(fold): {
                "images": int(chosen.sum()),
                "f2": mean(f2[chosen]),
                "f2_ship_images": mean(f2[chosen & with_objects]),
                "f2_empty_images": mean(f2[chosen & ~with_objects]),
            }
            for fold, chosen in of_fold.items()
        }
        means = [f2[chosen].mean() for chosen in of_fold.values()]
        summary["f2_fold_deviation"] = float(np.std(means, ddof=1)) if len(means) > 1 else None
    summary["by_ship_share"] = _by_ship_share(f2, with_objects, groups)
    summary["by_ship_size"] = _by_ship_size(matches)
    summary["by_ship_count"] = _by_ship_count(f2, n_true)
    return summary


def mean(values: npt.NDArray[Any]) -> float | None:
    """Return the mean, None of nothing."""
    return float(values.mean()) if len(values) else None


def in_words(
    f2: float, ship_images: float | None, empty_images: float | None, all_empty: float
) -> str:
    """Return the F2 of a set of images as a stage prints it; "none" for a mean over nothing."""
    objects, empty = (
        "none" if each is None else f"{each:.4f}" for each in (ship_images, empty_images)
    )
    return (
        f"F2 {f2:.4f} (images with objects {objects}, empty images {empty}; "
        f"the all-empty answer {all_empty:.4f})"
    )


def standard_error(values: npt.NDArray[np.float64], groups: npt.NDArray[Any]) -> float | None:
    """Return the standard error of the mean, where values of one group may vary together."""
    _, group = np.unique(groups, return_inverse=True)
    count = group.max() + 1 if len(group) else 0
    if count < 2:
        return None
    sums = np.bincount(group, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))


def _by_ship_share(
    f2: npt.NDArray[np.float64], with_objects: npt.NDArray[np.bool_], groups: npt.NDArray[Any]
) -> list[dict[str, Any]]:
    """Return the F2 to expect where images with objects have another share, by the same rules."""
    if with_objects.all() or not with_objects.any():
        return []
    rows = []
    for share in SHIP_SHARES:
        weight = np.where(
            with_objects, share / with_objects.mean(), (1 - share) / (1 - with_objects.mean())
        )
        within = f2 - np.where(with_objects, f2[with_objects].mean(), f2[~with_objects].mean())
        rows.append(
            {
                "ship_share": share,
                "f2": float((weight * f2).mean()),
                "f2_standard_error": standard_error(weight * within, groups),
                "f2_all_empty": 1 - share,
            }
        )
    return rows


def _by_ship_size(matches: Matches) -> list[dict[str, Any]]:
    """Return F2 with all objects of a size class as one image, and the share of objects found.

    A predicted object counts in the class of the true object it fits best.
    """
    true, found = matches.true_ships, matches.predicted_ships
    true_class = np.searchsorted(SHIP_SIZES_PX, true["area_px"], side="right") - 1
    found_class = np.searchsorted(SHIP_SIZES_PX, found["size_px"], side="right") - 1
    n_true = np.bincount(true_class, minlength=len(SHIP_SIZES_PX))
    n_found = np.bincount(found_class, minlength=len(SHIP_SIZES_PX))
    hits = np.bincount(true_class, weights=true["hits"], minlength=len(SHIP_SIZES_PX))
    f2 = f2_from_counts(hits, n_true, n_found)
    return [
        {
            "from_px": least,
            "to_px": SHIP_SIZES_PX[i + 1] - 1 if i + 1 < len(SHIP_SIZES_PX) else None,
            "true_ships": int(n_true[i]),
            "predicted_ships": int(n_found[i]),
            "found": float(hits[i] / (10 * n_true[i])) if n_true[i] else None,
            "f2": float(f2[i]) if n_true[i] or n_found[i] else None,
        }
        for i, least in enumerate(SHIP_SIZES_PX)
    ]


def _by_ship_count(
    f2: npt.NDArray[np.float64], n_true: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    ends = [*SHIP_COUNTS[1:], np.iinfo(np.int64).max]
    rows = []
    for least, end in zip(SHIP_COUNTS, ends, strict=True):
        chosen = (n_true >= least) & (n_true < end)
        last = int(end) - 1 if end in SHIP_COUNTS else None
        rows.append(
            {
                "from_ships": least,
                "to_ships": last,
                "images": int(chosen.sum()),
                "f2": mean(f2[chosen]),
            }
        )
    return rows
