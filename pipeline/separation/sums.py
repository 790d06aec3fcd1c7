"""Sums over the pixels of segments, and over the sides of their borders, of all cuts of a map.

The components of each cut enter. Only the places where a cut changes from one pixel to the next are
looked at: in a row, what lies between two of them is a run, whose sums are differences of totals
over the map. So large segments, of which the same pixels lie in every cut, cost little more than
small ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.separation.foreground import Foreground
from pipeline.separation.separate import Components

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

NOBODY = -1


@dataclass(frozen=True)
class Sums:
    """Of each segment, cut after cut, (n,); sums are over its pixels unless it says otherwise.

    Attributes:
        cut: Which it is of, from 0.
        parent: The segment of the cut before that its brightest pixel lies in, -1 for none.
        maximum: Of the map.
        prob: The map.
        prob_square: The map squared.
        at_edge: How many of its runs touch the image's edge.
        moments: Row, column, row², column², row x column, in the image, (5, n).
        edges: Number of sides that its pixels share with others. The image's edge has none.
        inner: The map on this side of them.
        outer: The map beyond.
    """

    cut: Integers
    parent: Integers
    maximum: Bytes
    prob: Floats
    prob_square: Floats
    at_edge: Floats
    moments: Floats
    edges: Integers
    inner: Floats
    outer: Floats


@dataclass(frozen=True)
class _Sides:
    """The sides between pixels that are not of the same segment, cut after cut.

    A pixel is a place in the foreground's rows with a margin of one pixel around.

    Attributes:
        one: The pixel to the left of each side, or above.
        other: The pixel to the right, or below.
        one_in: The segment of `one`, -1 for none.
        other_in: The segment of `other`.
        upright: Whether they are left and right; in a cut these come first, in order.
    """

    one: Integers
    other: Integers
    one_in: Integers
    other_in: Integers
    upright: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Runs:
    """Pixels of one segment in one row, cut after cut, row after row: where they begin and end."""

    first: Integers
    after: Integers
    segment: Integers


def sum_segments(foreground: Foreground, found: Sequence[Components]) -> Sums:
    """Sum over the components of some cuts of a foreground; no cut may be without any."""
    shape = foreground.maps.prob_hw.shape
    prob = np.pad(foreground.maps.prob_hw, 1).ravel()
    counts = [len(components.area_px) for components in found]
    cut = np.repeat(np.arange(len(counts)), counts)
    sides = _find_sides(found, shape)
    opens = sides.upright & (sides.other_in != NOBODY)
    closes = sides.upright & (sides.one_in != NOBODY)
    runs = _Runs(sides.other[opens], sides.other[closes], sides.other_in[opens])
    maximum, brightest = _find_brightest(prob, runs, len(cut))
    at_edge, moments = _place(foreground, runs, len(cut))
    prob_sum, square_sum = (
        _per_segment(runs.segment, _between(values, runs.first, runs.after), len(cut))
        for values in (prob, prob.astype(np.int64) ** 2)
    )
    # The image's edge is no side.
    inside = np.pad(np.ones(shape, np.bool_), 1).ravel()
    owner = np.concatenate([sides.one_in, sides.other_in])
    near, far = np.concatenate([[sides.one, sides.other], [sides.other, sides.one]], axis=1)
    counted = (owner != NOBODY) & inside[far]
    owner = owner[counted]
    inner, outer = (_per_segment(owner, prob[at[counted]], len(cut)) for at in (near, far))
    return Sums(
        cut=cut,
        parent=_find_parents(cut, brightest, runs, prob.size),
        maximum=maximum,
        prob=prob_sum,
        prob_square=square_sum,
        at_edge=at_edge,
        moments=moments,
        edges=np.bincount(owner, minlength=len(cut)),
        inner=inner,
        outer=outer,
    )


def _find_sides(found: Sequence[Components], shape: tuple[int, ...]) -> _Sides:
    width, count = shape[1] + 2, 0
    places = np.arange((shape[0] + 2) * width).reshape(-1, width)[1:-1, 1:-1].ravel()
    segments = np.empty((shape[0] + 2) * width, np.int32)
    none = np.zeros(0, np.int64)
    cuts = [(none, none, none, none, none.astype(np.bool_))]
    for components in found:
        pixels = places[components.pixels]
        segments.fill(NOBODY)
        segments[pixels] = components.labels + (count - 1)
        count += len(components.area_px)
        # The rows of this cut and the two around them.
        first = pixels[0] - width
        part = segments[first : pixels[-1] + width + 1]
        left = np.flatnonzero(part[1:] != part[:-1]) + first
        above = np.flatnonzero(part[width:] != part[:-width]) + first
        one, other = np.concatenate([left, above]), np.concatenate([left + 1, above + width])
        one_in, other_in = segments[one].astype(np.int64), segments[other].astype(np.int64)
        cuts.append((one, other, one_in, other_in, np.arange(len(one)) < len(left)))
    return _Sides(*map(np.concatenate, zip(*cuts, strict=True)))


def _place(foreground: Foreground, runs: _Runs, count: int) -> tuple[Floats, Floats]:
    """Return `at_edge` and `moments`."""
    columns = foreground.columns
    row, left = np.divmod(runs.first, len(columns) + 2)
    row, left = foreground.rows[row - 1], left - 1
    length = runs.after - runs.first
    right = left + length
    in_row = _between(columns, left, right)
    last_row, last_column = foreground.shape[0] - 1, foreground.shape[1] - 1
    at_edge = (row == 0) | (row == last_row)
    at_edge |= (columns[left] == 0) | (columns[right - 1] == last_column)
    moments = (
        row * length,
        in_row,
        row**2 * length,
        _between(columns**2, left, right),
        row * in_row,
    )
    touching, *sums = (_per_segment(runs.segment, each, count) for each in (at_edge, *moments))
    return touching, np.stack(sums)


def _per_segment(segment: Integers, values: npt.NDArray[Any], count: int) -> Floats:
    """Return the sums of values that each belong to a segment."""
    sums: Floats = np.bincount(segment, values, count).astype(np.float64)
    return sums


def _between(values: npt.NDArray[np.integer[Any]], first: Integers, after: Integers) -> Integers:
    """Return the sums of `values` from each first place to the one before each `after`."""
    totals = np.append(0, np.cumsum(values, dtype=np.int64))
    sums: Integers = totals[after] - totals[first]
    return sums


def _find_brightest(prob: Bytes, runs: _Runs, count: int) -> tuple[Bytes, Integers]:
    """Return each segment's maximum, and its first pixel that reaches it."""
    highest = np.maximum.reduceat(prob, np.stack([runs.first, runs.after], axis=1).ravel())[::2]
    maximum = np.zeros(count, np.uint8)
    np.maximum.at(maximum, runs.segment, highest)
    bright_runs = np.flatnonzero(highest == maximum[runs.segment])[::-1]
    run = np.zeros(count, np.int64)
    run[runs.segment[bright_runs]] = bright_runs  # the first run is written last
    first, size = runs.first[run], runs.after[run] - runs.first[run]
    starts = np.cumsum(size) - size
    pixels = np.repeat(first - starts, size) + np.arange(size.sum())
    bright = np.flatnonzero(prob[pixels] == np.repeat(maximum, size))
    return maximum, pixels[bright[np.searchsorted(bright, starts)]]


def _find_parents(cut: Integers, brightest: Integers, runs: _Runs, size: int) -> Integers:
    """Return the segment of the cut before whose run holds the brightest pixel, -1 for none."""
    # Each cut gets a stretch of one long axis, on which the runs ascend.
    stretch = cut[runs.segment] * size
    wanted = (cut - 1) * size + brightest
    run = np.searchsorted(stretch + runs.first, wanted, side="right") - 1
    holds = (run >= 0) & ((stretch + runs.after)[run] > wanted)
    return np.where(holds, runs.segment[run], NOBODY)
