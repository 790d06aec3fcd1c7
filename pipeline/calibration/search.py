"""The search over thresholds, separations, areas and image filters, by the metric in force.

Each map is measured once; then the score of any set of rules is a sum over components, and all
image filters of a minimum area cost one two-dimensional histogram.
"""

import math
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.calibration.measure import Found
from pipeline.metrics.metric import Floats, Integers, Metric, add_up, ratios
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
        empty_answer: Whether to find nothing where that scores more than all of them.
    """

    separations: tuple[Separation, ...]
    min_areas_px: tuple[int, ...]
    filter_levels: tuple[int, ...] = (0,)
    filter_areas_px: tuple[int, ...] = (0,)
    empty_answer: bool = False

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
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
        """The candidates of all rules but the separation, as in the axes of `score_sums`."""
        return self.min_areas_px, self.filter_levels, self.filter_areas_px

    @property
    def lowest(self) -> int:
        """The lowest threshold."""
        return min(how.threshold for how in self.separations)

    def rules(self, place: tuple[int, ...]) -> Rules:
        """Return the rules at one place of the grid."""
        numbers = (values[i] for values, i in zip(self.numbers, place[1:], strict=True))
        return Rules(self.separations[place[0]], *numbers)


Sums = tuple[Integers, Integers, Integers]
"""What `Metric.terms` takes: sums of parts, (images, k), true objects and their pixels."""


@dataclass(frozen=True)
class Measured:
    """All maps, measured; the arrays have one entry per image.

    Attributes:
        metric: The metric in force.
        image_ids: In the maps' order.
        folds: Fold of each, int64.
        n_true: Number of true objects.
        true_px: Their pixels.
        max_prob: Maximum of the map, 0 without a map.
        found: All components, for each separation.
        beside: Of the other classes, where the metric pools them: what `Metric.terms` takes.
    """

    metric: Metric
    image_ids: list[str]
    folds: Integers
    n_true: Integers
    true_px: Integers
    max_prob: Integers
    found: dict[Separation, Found]
    beside: Sums | None = None

    def terms(self, sums: Integers, images: Integers | slice = slice(None)) -> Floats:
        """Return `Metric.terms` of the images, (2, images)."""
        own = sums, self.n_true[images], self.true_px[images]
        if self.beside is None:
            return self.metric.terms(*own)
        others = (each[images] for each in self.beside)
        return self.metric.terms(*(one + other for one, other in zip(own, others, strict=True)))


def score_sums(measured: Measured, candidates: RuleGrid, folds: list[int]) -> Floats:
    """Return the terms of the score over each fold's images for every set of rules.

    Shape: 2 for numerator and denominator, one axis per field of `RuleGrid`, in its order, and the
    folds last.
    """
    fold = np.searchsorted(folds, measured.folds)
    nothing = measured.terms(measured.metric.nothing(len(fold)))
    without_objects = np.stack([np.bincount(fold, each, len(folds)) for each in nothing])
    areas, *filters = (len(values) for values in candidates.numbers)
    shape = (*filters, len(folds))
    sums = np.empty((2, len(candidates.separations), areas, *shape))
    passed_prob = np.searchsorted(candidates.filter_levels, measured.max_prob, side="right") - 1
    for s, separation in enumerate(candidates.separations):
        found = measured.found[separation]
        parts = _parts(measured, found)
        largest_px = _largest_px(found, len(fold))
        passed_area = np.searchsorted(candidates.filter_areas_px, largest_px, side="right") - 1
        for a, min_area_px in enumerate(candidates.min_areas_px):
            images, found_sums = _sums(found, parts, min_area_px, len(fold))
            # What an image gains over no objects, at the strictest filters it passes; a filter's
            # gain is that of all images at its place or a stricter one.
            places = passed_prob[images], passed_area[images], fold[images]
            at = np.ravel_multi_index(places, shape)
            added = measured.terms(found_sums, images) - nothing[:, images]
            each = [np.bincount(at, term, math.prod(shape)) for term in added]
            gain = np.reshape(each, (2, *shape))
            for axis in (1, 2):
                gain = np.flip(np.flip(gain, axis).cumsum(axis), axis)
            sums[:, s, a] = gain + without_objects[:, None, None]
    return sums


def by_threshold(candidates: RuleGrid, sums: Floats, key: str) -> list[dict[str, float]]:
    """Return the score over the least probability of an object's pixel, other rules at their best.

    Args:
        candidates: What was searched.
        sums: What `score_sums` gave.
        key: The metric's.

    Returns:
        `threshold`, 1..255, and the score, on the images that the other rules were chosen on.
    """
    scores = ratios(sums.sum(axis=-1)).reshape(len(candidates.separations), -1).max(axis=1)
    best: dict[int, float] = {}
    for separation, value in zip(candidates.separations, scores.tolist(), strict=True):
        best[separation.threshold] = max(value, best.get(separation.threshold, 0.0))
    return [{"threshold": threshold, key: best[threshold]} for threshold in sorted(best)]


def image_sums(measured: Measured, rules: Rules) -> Integers:
    """Return the sums of `Metric.parts` of what one set of rules finds, (images, k)."""
    found = measured.found[rules.separation]
    parts = _parts(measured, found)
    images, sums = _sums(found, parts, rules.min_area_px, len(measured.n_true))
    passed = passes(measured, rules)[images]
    result = np.zeros((len(measured.n_true), parts.shape[1]), np.int64)
    result[images[passed]] = sums[passed]
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


def _parts(measured: Measured, found: Found) -> Integers:
    return measured.metric.parts(found.hits, found.area_px, found.shared_px)


def _sums(
    found: Found, parts: Integers, min_area_px: int, images: int
) -> tuple[Integers, Integers]:
    """Return the images with a component of that area or more, and the sums of their parts."""
    kept = found.area_px >= min_area_px
    owners = found.image[kept]
    taken = np.flatnonzero(np.bincount(owners, minlength=images))
    return taken, add_up(parts[kept], owners, images)[taken]


def best_rules(candidates: RuleGrid, scores: Floats) -> Rules:
    """Return the best rules of those whose scores are given; of equally good ones the plainest.

    A filter that gains nothing is off. Among equal thresholds and areas the middle one is farthest
    from where the score falls. `scores` has one axis per field of `RuleGrid`; -inf leaves a set of
    rules out.
    """
    tied = np.argwhere(scores >= scores.max() - TIE)
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
