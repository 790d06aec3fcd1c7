"""Components become turned rectangles, as the competition's annotators drew their objects.

Pixels and labels enter and leave. No two rectangles share a pixel: what was a component's stays
its own, and of the background around, the larger component takes a pixel that several want.
"""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["fit_rectangles"]

Integers = npt.NDArray[np.int64]


def fit_rectangles(pixels: Integers, labels: Integers, width: int) -> tuple[Integers, Integers]:
    """Fill the smallest turned rectangle around each component.

    A rectangle stays inside the rows and columns of its component, so inside the map.

    Args:
        pixels: Places of the components' pixels in the row-major map, int64 (p,), ascending.
        labels: The component of each, 1..n, int64 (p,).
        width: Of the map, px.

    Returns:
        The same of the rectangles: no pixel is lost, none is in two.
    """
    order = np.argsort(labels, kind="stable")
    area_px = np.bincount(labels)
    ends = np.cumsum(area_px)
    found, owners = [pixels], [labels]
    for label in np.argsort(-area_px[1:], kind="stable") + 1:
        own = pixels[order[ends[label - 1] : ends[label]]]
        inside = _rectangle(own, width)
        found.append(inside)
        owners.append(np.full(len(inside), label))
    # The first who names a pixel has it: its component, or the largest rectangle.
    every, first = np.unique(np.concatenate(found), return_index=True)
    return every, np.concatenate(owners)[first]


def _rectangle(pixels: Integers, width: int) -> Integers:
    row, column = np.divmod(pixels, width)
    top, left = int(row.min()), int(column.min())
    # The first and the last pixel of each row hold the others between them.
    turns = row[1:] != row[:-1]
    ends = np.append(True, turns) | np.append(turns, True)
    points = np.stack([column[ends] - left, row[ends] - top], axis=1).astype(np.int32)
    corners = cv2.boxPoints(cv2.minAreaRect(points))
    rectangle_hw = np.zeros((int(row.max()) - top + 1, int(column.max()) - left + 1), np.uint8)
    cv2.fillConvexPoly(rectangle_hw, np.rint(corners).astype(np.int32), 1)
    rows, columns = np.nonzero(rectangle_hw)
    inside: Integers = (rows + top) * width + columns + left
    return inside
