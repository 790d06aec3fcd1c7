"""Values at another pixel size, the same whatever window of them is asked for.

Smaller pixels are interpolated linearly, larger ones are the mean of the area that they cover; both
of valid values alone. GDAL's warper is not used: what it interpolates depends on the window
(rasterio 1.4.4: 29 of 30 windows differed from the whole at a scale of 0.7), and it takes other
bands' nodata and a mismarked opacity into account.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]


class Taps(NamedTuple):
    """What new pixels along an axis are made of.

    Attributes:
        first: The first source pixel that is needed.
        after: The one after the last.
        source: Source pixels counted from the first, (k, n).
        weights: Of each, (k, n); 0 beyond the source.
    """

    first: int
    after: int
    source: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float64]


def taps(first: int, after: int, scale: float, size: int) -> Taps:
    """Return what the new pixels from `first` to before `after` are made of.

    Args:
        first: The first new pixel.
        after: The one after the last.
        scale: Side of a new pixel in source pixels.
        size: How many source pixels there are.
    """
    at = np.arange(first, after)
    if scale >= 1:
        low, high = at * scale, (at + 1) * scale
        source = np.floor(low).astype(np.intp) + np.arange(int(np.ceil(scale)) + 1)[:, None]
        weights = np.minimum(source + 1, high) - np.maximum(source, low)
    else:
        centre = np.clip((at + 0.5) * scale - 0.5, 0, size - 1)
        source = np.floor(centre).astype(np.intp) + np.arange(2)[:, None]
        weights = 1 - np.abs(source - centre)
    weights = np.where((source >= 0) & (source < size), np.maximum(weights, 0), 0)
    source = np.clip(source, 0, size - 1)
    start = int(source.min())
    return Taps(start, int(source.max()) + 1, source - start, weights)


def resample(values: Values, valid_hw: Values, rows: Taps, columns: Taps) -> tuple[Values, Values]:
    """Return the new pixels, and which are valid: those of which half the weight is.

    Args:
        values: (bands, h, w), from `first` to before `after` of both axes.
        valid_hw: bool (h, w).
        rows: Of the new pixels.
        columns: The same.

    Returns:
        float64 (bands, n, m) and bool (n, m).
    """
    weight_hw = _along(_along(valid_hw.astype(np.float64), rows, 0), columns, 1)
    whole_hw = rows.weights.sum(0)[:, None] * columns.weights.sum(0)
    new_valid_hw = weight_hw >= whole_hw / 2
    new = np.empty((len(values), *weight_hw.shape))
    for band_hw, new_hw in zip(values, new, strict=True):
        known_hw = np.where(valid_hw, band_hw, 0).astype(np.float64)
        sums_hw = _along(_along(known_hw, rows, 0), columns, 1)
        np.divide(sums_hw, weight_hw, out=new_hw, where=new_valid_hw)
        new_hw[~new_valid_hw] = 0
    return new, new_valid_hw


def _along(plane_hw: Values, axis_taps: Taps, axis: int) -> Values:
    """Sum up along an axis tap by tap: every pixel in the same order, whatever the window."""
    total: Values | None = None
    for source, weights in zip(axis_taps.source, axis_taps.weights, strict=True):
        part = plane_hw.take(source, axis) * (weights[:, None] if axis == 0 else weights)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None  # there are at least two taps
    return total
