"""What is measured of the segments of a map, from which calibration learns which of them are ships.

The maps of an image are cut at rising thresholds. Each component of each cut is a segment: a ship
may be best outlined at one threshold and its neighbour at another. A segment lies in one of the
cut before, its parent, so the segments form trees; of two on the way from a leaf to its root at
most one can be a ship. Nothing here knows the truth.

A whole cut is measured at once from the list of its pixels; no segment has a frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ships.parts import Part
from pipeline.ships.rle import Labels
from pipeline.ships.separate import Components, ProbabilityMap, Separation, find_components

__all__ = ["FEATURES", "LOG_AREA", "Features", "Segments", "draw_segments", "find_segments"]

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
OF_IMAGE = ("image_maximum", "image_log_area", "image_log_sure_area")
FEATURES = OF_CUT + OF_TREE + OF_IMAGE

LOG_AREA = OF_CUT.index("log_area")
UNBOUNDED = 4.0  # growth of a segment without a parent, shrinkage of one without children
SURE = 204  # a probability of 0.8


@dataclass(frozen=True)
class Segments:
    """The segments of one image, each after its parent.

    Attributes:
        features: `FEATURES` of each, float32 (n, f): probabilities 0..1, areas and lengths as
            natural logarithms of px.
        parent: Index of the segment of the cut before that it lies in, -1 for none, int64 (n,).
        cuts: The components of each cut, in the part; their order is the segments'.
        part: The part of the maps that was cut.
    """

    features: Features
    parent: Integers
    cuts: list[Components]
    part: Part


def find_segments(part: Part, cuts: Sequence[Separation]) -> Segments:
    """Cut the maps of an image in each of the ways.

    Args:
        part: All of the maps that reaches the lowest threshold.
        cuts: At least one; ascending by threshold, otherwise equal.

    Raises:
        ArtifactError: The cuts need a contact channel and there is none.
        DataError: More than 65,534 components.
    """
    prob_hw = part.maps.prob_hw
    found: list[Components] = []
    measured, parents = [np.zeros((0, len(OF_CUT)))], [np.zeros(0, np.int64)]
    segment_hw = np.full(prob_hw.shape, -1, np.int64)
    count = 0
    for cut in cuts:
        components = find_components(part.maps, cut)
        if not len(components.area_px):
            break
        features, brightest = _measure_cut(part, components)
        features[:, 0] = cut.threshold / 255
        measured.append(features)
        parents.append(segment_hw.ravel()[brightest])
        segment_hw.ravel()[components.pixels] = components.labels + (count - 1)
        count += len(components.area_px)
        found.append(components)
    of_cut, parent = np.concatenate(measured), np.concatenate(parents)
    areas = [(prob_hw >= least).sum() for least in (cuts[0].threshold, SURE)]
    of_image = np.array([prob_hw.max() / 255, *np.log1p(areas)])
    of_tree = _measure_tree(of_cut[:, LOG_AREA], parent)
    features = np.hstack([of_cut, of_tree, np.tile(of_image, (count, 1))])
    return Segments(features.astype(np.float32), parent, found, part)


def draw_segments(segments: Segments, chosen: Sequence[int]) -> Labels:
    """Draw some of the segments as a label map of the whole image.

    Where two share pixels, which only segments of rectangles or of a watershed can, the first has
    them.

    Returns:
        int32 (h, w), 0 for sea, 1..n.
    """
    labels_hw = np.zeros(segments.part.shape, np.int32)
    ends = np.cumsum([len(cut.area_px) for cut in segments.cuts])
    number = 0
    for segment in chosen:
        at = int(np.searchsorted(ends, segment, side="right"))
        cut = segments.cuts[at]
        label = segment - ends[at] + len(cut.area_px) + 1
        row, column = np.divmod(cut.pixels[cut.labels == label], cut.shape[1])
        row, column = segments.part.rows[row], segments.part.columns[column]
        free = labels_hw[row, column] == 0
        if free.any():
            number += 1
            labels_hw[row[free], column[free]] = number
    return labels_hw


def _measure_cut(part: Part, components: Components) -> tuple[Floats, Integers]:
    """Return `OF_CUT` of each component, (n, f), and the place of its brightest pixel, (n,)."""
    labels, pixels = components.labels - 1, components.pixels
    area: Floats = components.area_px.astype(np.float64)
    prob = part.maps.prob_hw.ravel()[pixels].astype(np.int64)

    def mean(values: npt.NDArray[Any]) -> Floats:
        means: Floats = np.bincount(labels, values, len(area)) / area
        return means

    lines = np.divmod(pixels, components.shape[1])
    row, column = part.rows[lines[0]], part.columns[lines[1]]
    at_edge = np.isin(row, (0, part.shape[0] - 1)) | np.isin(column, (0, part.shape[1] - 1))
    brightest = pixels[np.lexsort((prob, labels))[np.cumsum(components.area_px) - 1]]
    maximum = part.maps.prob_hw.ravel()[brightest] / 255
    mean_prob = mean(prob)
    variance = mean(prob * prob) - mean_prob**2
    inner, outer, edges = _measure_borders(part.maps.prob_hw, components)
    length, width = _extent(row, column, mean)
    top = np.sort(np.append(maximum, 0))
    features = (
        np.zeros(len(area)),
        np.log(area),
        maximum,
        mean_prob / 255,
        np.sqrt(np.maximum(variance, 0)) / 255,
        inner / 255,
        outer / 255,
        np.log(length),
        np.log(width),
        area / (length * width),
        edges / np.sqrt(area),
        mean(at_edge) > 0,
        np.full(len(area), len(area) - 1),
        np.log1p(area.sum() - area),
        np.where(maximum == top[-1], top[-2], top[-1]),
    )
    return np.stack(features, axis=1).astype(np.float64), brightest


def _extent(
    row: Integers, column: Integers, mean: Callable[[npt.NDArray[Any]], Floats]
) -> tuple[Floats, Floats]:
    """Return length and width of the rectangles with the components' second moments, px."""
    row_mean, column_mean = mean(row), mean(column)
    # A pixel is a square, whose own second moment is 1/12.
    rows = mean(row * row) - row_mean**2 + 1 / 12
    columns = mean(column * column) - column_mean**2 + 1 / 12
    both = mean(row * column) - row_mean * column_mean
    half, apart = (rows + columns) / 2, np.hypot((rows - columns) / 2, both)
    return np.sqrt(12 * (half + apart)), np.sqrt(12 * np.maximum(half - apart, 1 / 12))


def _measure_borders(
    prob_hw: ProbabilityMap, components: Components
) -> tuple[Floats, Floats, Floats]:
    """Return the mean of the map inside and outside of each border, and the border's length.

    A border is made of the sides that a component's pixels share with other pixels; the image's
    own edge is none. Without a border the mean outside is 0.
    """
    count = len(components.area_px)
    frame_hw = np.pad(prob_hw, 1)
    width = frame_hw.shape[1]
    owner = np.pad(np.zeros(prob_hw.shape, np.int64), 1, constant_values=-1)
    row, column = np.divmod(components.pixels, components.shape[1])
    at = (row + 1) * width + column + 1
    owner.ravel()[at] = components.labels
    inner, outer, edges = np.zeros((3, count + 1))
    for step in (-width, -1, 1, width):
        neighbour = owner.ravel()[at + step]
        differs = (neighbour != components.labels) & (neighbour >= 0)
        labels, inside = components.labels[differs], at[differs]
        inner += np.bincount(labels, frame_hw.ravel()[inside], count + 1)
        outer += np.bincount(labels, frame_hw.ravel()[inside + step], count + 1)
        edges += np.bincount(labels, minlength=count + 1)
    inner, outer, edges = inner[1:], outer[1:], edges[1:]
    sides = np.maximum(edges, 1)
    return inner / sides, outer / sides, edges


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
