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
Points = npt.NDArray[np.float64]
Shapes = npt.NDArray[Any]
"""Of shapely's geometries."""


def draw(outlines: Sequence[Sequence[Polygon]], mapping: Callable[[Points], Points]) -> Shapes:
    """Return the outline of each object as a valid multi-polygon of mapped coordinates.

    Args:
        outlines: The parts of each object, see `pipeline.masks.outlines.polygons`.
        mapping: Returns the coordinates of pixels, (n, 2) of both.

    Returns:
        Simplified by at most half a pixel; not at all where that would not be valid. Outer rings go
        anticlockwise, x to the right and y up, holes clockwise.
    """
    import shapely

    drawn: Shapes = shapely.transform(_shapes(outlines, simplify), mapping)
    invalid = np.flatnonzero(~shapely.is_valid(drawn)).tolist()
    exact = _shapes([outlines[n] for n in invalid], lambda ring: ring.astype(np.float64))
    drawn[invalid] = shapely.transform(exact, mapping)
    oriented: Shapes = shapely.orient_polygons(drawn)
    return oriented


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
        (m, 2), corners of the ring or middles of its edges. It need not be valid: of a line of
        single pixels, too little remains.
    """
    sides = np.roll(ring, -1, axis=0) - ring
    start = int(np.abs(sides).sum(1).argmax())
    corners = np.roll(ring, -start - 1, axis=0).astype(np.float64)
    # Middle n lies before corner n; the first one, of the longest side, is the last one as well.
    middles = (corners + np.roll(corners, 1, axis=0)) / 2
    middles = np.concatenate([middles, middles[:1]])
    kept = [middles[0]]
    waiting = [(0, len(corners))]
    while waiting:
        first, last = waiting.pop()
        between = corners[first:last]
        if (_distances(between, middles[first], middles[last]) <= TOLERANCE_PX).all():
            kept.append(middles[last])
        elif last == first + 1:
            kept += [between[0], middles[last]]
        else:
            inner = _distances(middles[first + 1 : last], middles[first], middles[last])
            split = first + 1 + int(inner.argmax())
            waiting += [(split, last), (first, split)]
    points = np.array(kept[:-1])
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return points[turns] if turns.sum() >= 3 else ring.astype(np.float64)


def _distances(points: Points, first: Points, last: Points) -> Points:
    """Return how far points are from the line between two others, both ends included."""
    along = last - first
    length = along @ along
    share = np.clip((points - first) @ along / length, 0, 1) if length else np.zeros(len(points))
    away = points - first - share[:, None] * along
    distances: Points = np.hypot(*away.T)
    return distances
