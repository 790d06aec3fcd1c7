"""What is measured of the segments of a map, to learn which of them are objects.

The maps of an image are cut at rising thresholds. Each component of each cut is a segment: an
object may be best outlined at one threshold and its neighbour at another. A segment lies in one of
the cut before, its parent, so the segments form trees; of two on the way from a leaf to its root at
most one can be an object. Nothing here knows the truth.

All cuts are measured at once, from `sums` over their segments; no segment has a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.masks.rle import Labels
from pipeline.separation.foreground import Foreground
from pipeline.separation.separate import Components, Separation, find_components
from pipeline.separation.sums import Sums, sum_segments

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# What is measured of a segment in its cut, of its place in the tree, and of the image.
OF_CUT = (
    "threshold",
    "log_area",
    "maximum",
    "mean",
    "deviation",
    "inner_border",
    "outer_border",
    "log_length",
    "log_width",
    "rectangularity",
    "roughness",
    "at_edge",
    "others",
    "log_area_of_others",
    "maximum_of_others",
)
OF_TREE = ("growth", "growth_twice", "shrinkage", "children")
OF_IMAGE = ("image_maximum", "image_log_area", "image_log_sure_area", "image_head")
FEATURES = OF_CUT + OF_TREE + OF_IMAGE

LOG_AREA, IMAGE_HEAD = FEATURES.index("log_area"), FEATURES.index("image_head")
UNBOUNDED = 4.0  # growth of a segment without a parent, shrinkage of one without children
SURE = 204  # a probability of 0.8


@dataclass(frozen=True)
class Segments:
    """The segments of one image, each after its parent.

    Attributes:
        features: `FEATURES` of each, float32 (n, f): probabilities 0..1, areas and lengths as
            natural logarithms of px.
        parent: Index of the segment of the cut before that it lies in, -1 for none, int64 (n,).
        cuts: The components of each cut, in the foreground; their order is the segments'.
    """

    features: Features
    parent: Integers
    cuts: list[Components]


def find_segments(foreground: Foreground, cuts: Sequence[Separation]) -> Segments:
    """Cut the maps of an image in each of the ways.

    Args:
        foreground: All of the maps that reaches the lowest threshold.
        cuts: At least one; ascending by threshold, otherwise equal.

    Raises:
        ArtifactError: The cuts need a touching-border channel and there is none.
        DataError: More than 65,534 components.
    """
    found = cut_segments(foreground, cuts)
    sums = sum_segments(foreground, found)
    thresholds = np.array([cut.threshold for cut in cuts])[sums.cut]
    area = np.concatenate([np.zeros(0), *(components.area_px for components in found)])
    of_cut, parent = _measure_in_cut(thresholds, area, sums), sums.parent
    prob_hw = foreground.maps.prob_hw
    areas = [(prob_hw >= least).sum() for least in (cuts[0].threshold, SURE)]
    of_image = np.array([prob_hw.max() / 255, *np.log1p(areas), _logit(foreground.maps.image_prob)])
    of_tree = _measure_tree(of_cut[:, LOG_AREA], parent)
    features = np.hstack([of_cut, of_tree, np.tile(of_image, (len(parent), 1))])
    return Segments(features.astype(np.float32), parent, found)


def cut_segments(
    foreground: Foreground, cuts: Sequence[Separation], last: int | None = None
) -> list[Components]:
    """Cut the maps of an image as `find_segments` does; stop at the cut with segment `last`."""
    found: list[Components] = []
    count = 0
    for cut in cuts:
        components = find_components(foreground.maps, cut)
        if not len(components.area_px):
            break
        found.append(components)
        count += len(components.area_px)
        if last is not None and last < count:
            break
    return found


def draw_segments(
    foreground: Foreground, cuts: Sequence[Components], chosen: Sequence[int]
) -> Labels:
    """Draw some of the segments as a label map of the foreground.

    Where two share pixels, which only components that were split by a watershed can, the first has
    them.

    Returns:
        int32 (h, w), 0 for background, 1..n.
    """
    shape = foreground.maps.prob_hw.shape
    labels = np.zeros(shape[0] * shape[1], np.int32)
    ends = np.cumsum([len(cut.area_px) for cut in cuts])
    number = 0
    for segment in chosen:
        at = int(np.searchsorted(ends, segment, side="right"))
        cut = cuts[at]
        label = segment - ends[at] + len(cut.area_px) + 1
        pixels = cut.pixels[cut.labels == label]
        free = pixels[labels[pixels] == 0]
        if len(free):
            number += 1
            labels[free] = number
    return labels.reshape(shape)


def _logit(image_prob: float | None) -> float:
    """Return the image head's logit, 0 without a head."""
    if image_prob is None:
        return 0.0
    chance = min(max(image_prob, 1e-6), 1 - 1e-6)
    return float(np.log(chance / (1 - chance)))


def _measure_in_cut(thresholds: Integers, area: Floats, sums: Sums) -> Floats:
    """Return `OF_CUT` of each segment, (n, f)."""
    mean, sides = sums.prob / area, np.maximum(sums.edges, 1)
    deviation = np.sqrt(np.maximum(sums.prob_square / area - mean**2, 0))
    length, width = _extent(sums.moments / area)
    maximum = sums.maximum / 255
    # The largest and the second largest maximum of each cut; of one segment the second is 0.
    last = np.searchsorted(sums.cut, sums.cut, side="right") - 1
    ascending = np.append(maximum[np.lexsort((maximum, sums.cut))], 0)
    others = np.bincount(sums.cut)[sums.cut] - 1
    second = ascending[np.where(others > 0, last - 1, -1)]
    features = (
        thresholds / 255,
        np.log(area),
        maximum,
        mean / 255,
        deviation / 255,
        sums.inner / sides / 255,
        sums.outer / sides / 255,
        np.log(length),
        np.log(width),
        area / (length * width),
        sums.edges / np.sqrt(area),
        sums.at_edge > 0,
        others,
        np.log1p(np.bincount(sums.cut, area)[sums.cut] - area),
        np.where(maximum == ascending[last], second, ascending[last]),
    )
    return np.stack(features, axis=1).astype(np.float64)


def _extent(moments: Floats) -> tuple[Floats, Floats]:
    """Return length and width of the rectangles with the components' second moments, px."""
    row, column, row_row, column_column, row_column = moments
    # A pixel is a square, whose own second moment is 1/12.
    rows = row_row - row**2 + 1 / 12
    columns = column_column - column**2 + 1 / 12
    half = (rows + columns) / 2
    apart = np.hypot((rows - columns) / 2, row_column - row * column)
    return np.sqrt(12 * (half + apart)), np.sqrt(12 * np.maximum(half - apart, 1 / 12))


def _measure_tree(log_area: Floats, parent: Integers) -> Floats:
    """Return `OF_TREE` of each segment: how its area changes with the threshold."""
    count = len(parent)
    parent_area = np.append(log_area, UNBOUNDED + log_area.max(initial=0))
    up, twice = parent, np.append(parent, -1)[parent]
    growth = np.minimum(parent_area[up] - log_area, UNBOUNDED)
    growth_twice = np.minimum(parent_area[twice] - log_area, UNBOUNDED)
    has_parent = parent >= 0
    largest_child = np.full(count, -np.inf)
    np.maximum.at(largest_child, parent[has_parent], log_area[has_parent])
    shrinkage = np.minimum(log_area - largest_child, UNBOUNDED)
    children = np.bincount(parent[has_parent], minlength=count)
    return np.stack([growth, growth_twice, shrinkage, children], axis=1)
