"""The outline of each object as polygons along the edges of its pixels.

A label map enters; closed rings in pixel coordinates leave: x to the right, y down, (0, 0) the
outer corner of the first pixel, so that a ring encloses exactly the area of its pixels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.masks.rle import Labels

Ring = npt.NDArray[np.int64]
Polygon = list[Ring]


def polygons(labels_hw: Labels) -> list[list[Polygon]]:
    """Trace the objects of a label map.

    Args:
        labels_hw: int32 (h, w), 0 for background, 1..n for objects.

    Returns:
        For each object 1..n its parts, connected by edges of pixels, each a list of rings, int64
        (k, 2) of [x, y]: the outer ring clockwise as one sees it, then its holes the other way
        round. No ring meets itself, and two rings meet at corners only. The first corner is not
        repeated. No object gives [].
    """
    outlines: list[list[Polygon]] = [[] for _ in range(labels_hw.max(initial=0))]
    for label, object_hw, at_yx in _each_alone(labels_hw):
        # Pixels that only touch at a corner are two parts: a ring around both would touch itself.
        parts_hw, _ = ndimage.label(object_hw)
        for _, part_hw, (y, x) in _each_alone(parts_hw):
            outlines[label - 1].append(_trace(part_hw, (at_yx[1] + x, at_yx[0] + y)))
    return outlines


def _each_alone(labels_hw: Labels) -> Iterator[tuple[int, npt.NDArray[np.bool_], tuple[int, int]]]:
    """Yield each label, a mask of it in the smallest box, and the box's first row and column."""
    for label, box in enumerate(ndimage.find_objects(labels_hw), start=1):
        if box is not None:
            yield label, labels_hw[box] == label, (box[0].start, box[1].start)


def _trace(part_hw: npt.NDArray[np.bool_], corner_xy: tuple[int, int]) -> Polygon:
    # OpenCV goes through the centres of a contour's pixels. On the doubled mask the two halves of a
    # pixel lie beside its two edges, so that rounding up the half coordinate is the edge itself.
    doubled_hw = part_hw.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled_hw, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    paths = [(contour[:, 0].astype(np.int64) + 1) // 2 for contour in contours]
    # OpenCV names the outer contour before its holes, and turns it the other way.
    return [(_corners(path) + np.array(corner_xy))[::-1] for path in paths]


def _corners(path: Ring) -> Ring:
    """Keep the points of a closed path of unit steps at which it turns."""
    path = path[(path != np.roll(path, 1, axis=0)).any(axis=1)]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    corners: Ring = path[(before != after).any(axis=1)]
    return corners


def to_geojson(
    outlines: Sequence[Sequence[Polygon]], properties: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Write objects as a GeoJSON feature collection in pixel coordinates.

    Args:
        outlines: The parts of each, as `polygons` gives them.
        properties: Of each.
    """
    features = []
    for parts, known in zip(outlines, properties, strict=True):
        rings = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in parts]
        geometry = {"type": "MultiPolygon", "coordinates": rings}
        features.append({"type": "Feature", "geometry": geometry, "properties": known})
    return {"type": "FeatureCollection", "features": features}
