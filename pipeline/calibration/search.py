"""The search over thresholds, separations, areas and image filters, by the competition's metric.

Each map is measured once; then the F2 of any set of rules is a sum over components, and all
image filters of a minimum area cost one two-dimensional histogram.
"""

from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.calibration.measure import Found
from pipeline.metrics.f2 import f2_from_counts
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation

# Scores that differ by less are equal but for the order of summation.
TIE = 1e-9


@dataclass(frozen=True)
class RuleGrid:
    """The values each rule may take, in the units of `pipeline.selection.rules.Rules`.

    Attributes:
        separations: The plainest first; those that differ in nothing but the threshold stand
            together, ascending.
        min_areas_px: Ascending.
        filter_levels: Ascending from 0, which is no image filter.
        filter_areas_px: The same.
    """

    separations: tuple[Separation, ...]
    min_areas_px: tuple[int, ...]
    filter_levels: tuple[int, ...] = (0,)
    filter_areas_px: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if not values or len(values) != len(set(values)):
                raise ValueError(f"{field.name}: expected values that differ, got {values}")
            if field.name != "separations" and list(values) != sorted(values):
                raise ValueError(f"{field.name}: expected values that ascend, got {values}")
        if self.filter_levels[0] != 0 or self.filter_areas_px[0] != 0:
            raise ValueError("filter_levels and filter_areas_px must start with 0, no image filter")
        for values in product(*(sorted({v[0], v[-1]}) for v in self.numbers)):
            Rules(self.separations[0], *values)

    @property
    def numbers(self) -> tuple[tuple[int, ...], ...]:
        """The candidates of all rules but the separation, as in the axes of `f2_sums`."""
        return self.min_areas_px, self.filter_levels, self.filter_areas_px

    @property
    def lowest(self) -> int:
        """The lowest threshold."""
        return min(how.threshold for how in self.separations)

    def rules(self, place: tuple[int, ...]) -> Rules:
        """Return the rules at one place of the grid."""
        numbers = (values[i] for values, i in zip(self.numbers, place[1:], strict=True))
        return Rules(self.separations[place[0]], *numbers)


@dataclass(frozen=True)
class Measured:
    """All maps, measured; the arrays have one entry per image.

    Attributes:
        image_ids: In the maps' order.
        folds: Fold of each, int64.
        n_true: Number of true objects.
        max_prob: Maximum of the map, 0 without a map.
        found: All components, for each separation.
    """

    image_ids: list[str]
    folds: npt.NDArray[np.int64]
    n_true: npt.NDArray[np.int64]
    max_prob: npt.NDArray[np.int64]
    found: dict[Separation, Found]


def f2_sums(measured: Measured, candidates: RuleGrid, folds: list[int]) -> npt.NDArray[np.float64]:
    """Return the sum of F2 over each fold's images for every set of rules.

    Shape: one axis per field of `RuleGrid`, in its order, and the folds last.
    """
    fold = np.searchsorted(folds, measured.folds)
    empty = (measured.n_true == 0).astype(np.float64)
    without_objects = np.bincount(fold, weights=empty, minlength=len(folds))
    areas, *filters = (len(values) for values in candidates.numbers)
    sums = np.empty((len(candidates.separations), areas, *filters, len(folds)))
    passed_prob = np.searchsorted(candidates.filter_levels, measured.max_prob, side="right") - 1
    for s, separation in enumerate(candidates.separations):
        found = measured.found[separation]
        largest_px = _largest_px(found, len(fold))
        passed_area = np.searchsorted(candidates.filter_areas_px, largest_px, side="right") - 1
        for a, min_area_px in enumerate(candidates.min_areas_px):
            images, f2 = _f2(measured, found, min_area_px)
            # What an image gains over no objects, at the strictest filters it passes; a filter's
            # gain is that of all images at its place or a stricter one.
            gain = np.zeros((*filters, len(folds)))
            at = (passed_prob[images], passed_area[images], fold[images])
            np.add.at(gain, at, f2 - empty[images])
            for axis in (0, 1):
                gain = np.flip(np.flip(gain, axis).cumsum(axis), axis)
            sums[s, a] = gain + without_objects
    return sums


def by_threshold(
    candidates: RuleGrid, sums: npt.NDArray[np.float64], images: int
) -> list[dict[str, float]]:
    """Return F2 over the least probability of an object's pixel, the other rules at their best.

    Args:
        candidates: What was searched.
        sums: What `f2_sums` gave.
        images: Number of images.

    Returns:
        `threshold`, 1..255, and `f2`, on the images that the other rules were chosen on.
    """
    f2 = sums.sum(axis=-1).reshape(len(candidates.separations), -1).max(axis=1) / images
    best: dict[int, float] = {}
    for separation, value in zip(candidates.separations, f2.tolist(), strict=True):
        best[separation.threshold] = max(value, best.get(separation.threshold, 0.0))
    return [{"threshold": threshold, "f2": best[threshold]} for threshold in sorted(best)]


def image_f2(measured: Measured, rules: Rules) -> npt.NDArray[np.float64]:
    """Return the F2 of each image by one set of rules."""
    images, f2 = _f2(measured, measured.found[rules.separation], rules.min_area_px)
    passed = passes(measured, rules)
    result: npt.NDArray[np.float64] = (measured.n_true == 0).astype(np.float64)
    result[images[passed[images]]] = f2[passed[images]]
    return result


def passes(measured: Measured, rules: Rules) -> npt.NDArray[np.bool_]:
    """Tell which images the image filters of the rules let pass, (images,)."""
    largest_px = _largest_px(measured.found[rules.separation], len(measured.max_prob))
    passed: npt.NDArray[np.bool_] = measured.max_prob >= rules.filter_level
    return passed & (largest_px >= rules.filter_area_px)


def _largest_px(found: Found, images: int) -> npt.NDArray[np.int64]:
    largest_px = np.zeros(images, np.int64)
    np.maximum.at(largest_px, found.image, found.area_px)
    return largest_px


def _f2(
    measured: Measured, found: Found, min_area_px: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the images with a component of that area or more, and their F2 without filters."""
    kept = found.area_px >= min_area_px
    size = len(measured.n_true)
    count = np.bincount(found.image[kept], minlength=size)
    hits = np.bincount(found.image[kept], weights=found.hits[kept], minlength=size)
    images = np.flatnonzero(count)
    return images, f2_from_counts(hits[images], measured.n_true[images], count[images])


def best_rules(candidates: RuleGrid, f2: npt.NDArray[np.float64]) -> Rules:
    """Return the best rules of those whose `f2` is given; of equally good ones the plainest.

    A filter that gains nothing is off. Among equal thresholds and areas the middle one is farthest
    from where the score falls. `f2` has the shape of `f2_sums` without the folds; -inf leaves a
    set of rules out.
    """
    tied = np.argwhere(f2 >= f2.max() - TIE)
    separation, area, filter_level, filter_area = range(4)
    for axis in (filter_level, filter_area):
        tied = tied[tied[:, axis] == tied[:, axis].min()]
    plainest = _family(candidates.separations[tied[:, separation].min()])
    same = [_family(candidates.separations[i]) == plainest for i in tied[:, separation]]
    tied = tied[same]
    for axis in (separation, area):
        values = np.unique(tied[:, axis])
        tied = tied[tied[:, axis] == values[(len(values) - 1) // 2]]
    return candidates.rules(tuple(tied[0].tolist()))


def _family(separation: Separation) -> Separation:
    return replace(separation, threshold=1)
