"""Rings in pixel coordinates to masks, and masks to rings.

x is to the right, y down, (0, 0) the outer corner of the first pixel. A pixel belongs to a polygon
if its centre lies inside: rings along the edges of pixels give exactly these pixels, and hand-drawn
ones those that they cover for the most part.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.annotations.annotation import RefusalError
from pipeline.masks.outlines import Polygon, polygons
from pipeline.masks.rle import Mask, Runs, encode_runs, fill, label_runs, parse_runs
from pipeline.masks.rle_forms import unite

Points = npt.NDArray[np.float64]
DRAW_AGAIN = "Draw it again, or leave it out."
FAR_PX = 1e9  # where no image is


def inside(rings: Sequence[npt.ArrayLike], height: int, width: int) -> Runs:
    """Return the pixels inside an object's rings, runs as long as they can be.

    Args:
        rings: Of each its corners [x, y], (k, 2), px. Where rings lie in one another, inside and
            outside alternate. What is beyond the image is cut off.
        height: Of the image, px.
        width: The same.
    """
    corners = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings]
    # Each edge goes from left to right: one that is passed twice is crossed at the same places.
    edges = np.concatenate(
        [np.empty((0, 2, 2)), *(np.stack([ring, np.roll(ring, -1, axis=0)], 1) for ring in corners)]
    )
    turned = edges[:, 0, 0] > edges[:, 1, 0]
    edges[turned] = edges[turned, ::-1]
    (x0, y0), (x1, y1) = edges.transpose(1, 2, 0)
    # The columns whose centre lies on an edge, the left end counted and the right end not.
    first, end = (np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64) for x in (x0, x1))
    counts = end - first
    edge = np.repeat(np.arange(len(edges)), counts)
    column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    share = (column + 0.5 - x0[edge]) / (x1 - x0)[edge]
    y = y0[edge] + share * (y1 - y0)[edge]
    row = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    ends = np.sort(column * height + row).reshape(-1, 2)
    return united([np.stack([ends[:, 0], ends[:, 1] - ends[:, 0]], axis=1)], height * width)


def united(masks: Sequence[Runs], size: int) -> Runs:
    """Return the pixels of any of some masks of an image of `size` pixels, runs joined."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *masks])
    runs = runs[runs[:, 1] > 0]
    return unite(runs, np.zeros(len(runs), np.int64), size)[0]


def outline(encoded: str, height: int, width: int) -> list[Polygon]:
    """Return the parts of an object, each its outer ring and its holes, along edges of pixels.

    Args:
        encoded: Its RLE, not "".
        height: Of the image, px.
        width: The same.

    Returns:
        As `pipeline.masks.outlines.polygons` gives them.

    Raises:
        DataError: The RLE is illegal.
    """
    corner_xy, mask_hw = cut_out(encoded, height, width)
    (parts,) = polygons(mask_hw.astype(np.int32))
    return [[ring + np.array(corner_xy) for ring in rings] for rings in parts]


def cut_out(encoded: str, height: int, width: int) -> tuple[tuple[int, int], Mask]:
    """Return the first column and row of an object's box, and its mask there, uint8 (h, w).

    Raises:
        DataError: As `outline`.
    """
    runs = parse_runs(encoded, height, width)
    left, right = int(runs[0, 0]) // height, int(runs[-1].sum() - 1) // height + 1
    columns_wh = np.zeros((right - left, height), np.uint8)
    fill(columns_wh.ravel(), runs - np.array([left * height, 0]), None)
    rows = np.flatnonzero(columns_wh.any(axis=0))
    return (left, int(rows[0])), columns_wh[:, rows[0] : rows[-1] + 1].T


def placed(mask_hw: npt.NDArray[Any], left: int, top: int, height: int, width: int) -> Runs:
    """Return the runs of a mask that lies in an image with its corner at `left` and `top`.

    What is beyond the image is cut off.
    """
    rows, columns = (
        slice(max(-at, 0), max(size - at, 0)) for at, size in ((top, height), (left, width))
    )
    inner_hw = np.asarray(mask_hw[rows, columns] != 0, np.uint8)
    places = [np.arange(side) for side in inner_hw.shape]
    within = places[0] + max(top, 0), places[1] + max(left, 0), height
    return label_runs(inner_hw, within)[1]


def checked_ring(points: object) -> Points:
    """Return the corners of a hand-drawn ring, (k, 2).

    Args:
        points: As a file has them: pairs [x, y], or one number after the other.

    Raises:
        RefusalError: They are no numbers, or fewer than three corners.
    """
    try:
        numbers = np.asarray(points, np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise RefusalError("expected pairs of numbers, got something else", DRAW_AGAIN) from None
    if len(numbers) % 2:
        raise RefusalError(f"expected pairs x y, got {len(numbers)} numbers", DRAW_AGAIN)
    if len(numbers) < 6:
        raise RefusalError(
            f"expected a polygon of 3 points or more, got {len(numbers) // 2}", DRAW_AGAIN
        )
    if not (np.abs(numbers) < FAR_PX).all():
        raise RefusalError("expected pixels, got numbers that are far off or none", DRAW_AGAIN)
    return numbers.reshape(-1, 2)


def as_text(runs: Runs) -> str:
    """Return an object's RLE.

    Raises:
        RefusalError: It has no pixel.
    """
    if not len(runs):
        raise RefusalError("it holds the centre of no pixel of the image", DRAW_AGAIN)
    return encode_runs(runs)
