"""Outlines along the edges of pixels -> polygons with fewer corners, valid wherever they are drawn.

A slanting border is a staircase of pixels. No corner of it is further than half a pixel from the
line through the middles of its steps; so lines go from middle to middle, as far as they may.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.masks.outlines import Polygon, Ring

TOLERANCE_PX = 0.5
MAX_LOST_AREA = 0.05
Point = Sequence[float]
Points = npt.NDArray[np.float64]
Shapes = npt.NDArray[Any]
"""Of shapely's geometries."""


def draw(
    outlines: Sequence[Sequence[Polygon]], *mappings: Callable[[Points], Points]
) -> list[Shapes]:
    """Return the outline of each object as a valid multi-polygon, for each mapping of coordinates.

    Args:
        outlines: The parts of each object, see `pipeline.masks.outlines.polygons`.
        mappings: Return the coordinates of pixels, (n, 2) of both.

    Returns:
        Simplified by at most half a pixel; not at all where that would not be valid. Outer rings go
        anticlockwise, x to the right and y up, holes clockwise.
    """
    import shapely

    simple = _shapes(outlines, simplify)
    every: list[Shapes] = []
    for mapping in mappings:
        drawn = shapely.transform(simple, mapping)
        invalid = np.flatnonzero(~shapely.is_valid(drawn)).tolist()
        exact = _shapes([outlines[n] for n in invalid], lambda ring: ring.astype(np.float64))
        drawn[invalid] = shapely.transform(exact, mapping)
        every.append(shapely.orient_polygons(drawn))
    return every


def _shapes(outlines: Sequence[Sequence[Polygon]], change: Callable[[Ring], Points]) -> Shapes:
    import shapely

    shapes = np.empty(len(outlines), object)
    for n, parts in enumerate(outlines):
        polygons = []
        for rings in parts:
            outer, *holes = map(change, rings)
            polygons.append(shapely.Polygon(outer, holes))
        shapes[n] = shapely.MultiPolygon(polygons)
    return shapes


def simplify(ring: Ring) -> Points:
    """Return a ring with fewer corners, of which no point is further than half a pixel away.

    Args:
        ring: (k, 2), its corners in order, along the edges of pixels; not repeated at the end.

    Returns:
        (m, 2), corners of the ring or middles of its edges; the ring where that would change its
        area by more than 5 %, as of lines of single pixels. It may meet itself or other rings.
    """
    sides = np.roll(ring, -1, axis=0) - ring
    start = int(np.abs(sides).sum(1).argmax())
    turned: Points = np.roll(ring, -start - 1, axis=0).astype(np.float64)
    corners = turned.tolist()
    # Middle n lies before corner n; the first one, of the longest side, is the last one as well.
    middles = ((turned + np.roll(turned, 1, axis=0)) / 2).tolist()
    middles.append(middles[0])
    kept = [middles[0]]
    waiting = [(0, len(corners))]
    while waiting:
        first, last = waiting.pop()
        ends = middles[first], middles[last]
        if _farthest(corners[first:last], *ends)[0] <= TOLERANCE_PX**2:
            kept.append(middles[last])
        elif last == first + 1:
            kept += [corners[first], middles[last]]
        else:
            split = first + 1 + _farthest(middles[first + 1 : last], *ends)[1]
            waiting += [(split, last), (first, split)]
    points = np.array(kept[:-1])
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    points = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    lost = abs(1 - _area(points) / _area(turned))
    return points if lost <= MAX_LOST_AREA else turned


def _area(ring: Points) -> float:
    """Return the signed area of a ring, 0 for one of less than three corners."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _farthest(points: Sequence[Point], first: Point, last: Point) -> tuple[float, int]:
    """Return the largest squared distance from the line between two points, and whose it is."""
    (left, top), (right, bottom) = first, last
    across, down = right - left, bottom - top
    length2 = across**2 + down**2
    farthest, at = -1.0, 0
    for n, (x, y) in enumerate(points):
        share = ((x - left) * across + (y - top) * down) / length2 if length2 else 0.0
        share = min(max(share, 0.0), 1.0)
        away2 = (x - left - share * across) ** 2 + (y - top - share * down) ** 2
        if away2 > farthest:
            farthest, at = away2, n
    return farthest, at
