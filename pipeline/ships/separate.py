"""A probability map becomes ships: threshold, connected components, a minimum area.

A map (uint8, 0..255) and three numbers enter; a label map leaves, whose ships never overlap.
Two steps, so that another way to split a blob can stand between them: `find_components` labels
what is above the threshold, `draw_labels` keeps components by a rule and numbers them 1..n.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.ships.rle import Labels

__all__ = [
    "MAX_COMPONENTS",
    "Components",
    "Connectivity",
    "ProbabilityMap",
    "draw_labels",
    "find_components",
    "separate",
]

ProbabilityMap = npt.NDArray[np.uint8]
Connectivity = Literal[4, 8]

MAX_COMPONENTS = 65_534  # what 16 bits hold beside the sea; more is noise, no image of ships


@dataclass(frozen=True)
class Components:
    """The components of one map, as the list of their pixels.

    Attributes:
        pixels: Place of each pixel in the row-major image, int64 (p,), ascending.
        labels: Its component, 1..n, int64 (p,).
        area_px: Area of components 1..n, int64 (n,).
        shape: Height and width of the image.
    """

    pixels: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    area_px: npt.NDArray[np.int64]
    shape: tuple[int, int]


def separate(
    prob_hw: ProbabilityMap, threshold: int, connectivity: Connectivity, min_area_px: int
) -> Labels:
    """Cut a map into ships.

    Args:
        prob_hw: Probability of ship x 255, uint8 (h, w).
        threshold: Least value of a ship's pixel, 1..255.
        connectivity: 8 joins pixels that meet at a corner, 4 does not.
        min_area_px: Smaller components are dropped; 0 and 1 keep all.

    Returns:
        int32 (h, w), 0 for sea and 1..n for ships; all 0 where no pixel reaches the threshold.

    Raises:
        DataError: More than 65,534 components.
        ValueError: `prob_hw` is not uint8 (h, w), the threshold is not 1..255, or the connectivity
            is neither 4 nor 8.
    """
    components = find_components(prob_hw, threshold, connectivity)
    return draw_labels(components, components.area_px >= min_area_px)


def find_components(
    prob_hw: ProbabilityMap, threshold: int, connectivity: Connectivity
) -> Components:
    """Label the connected components of the pixels that reach `threshold`; see `separate`."""
    if prob_hw.dtype != np.uint8 or prob_hw.ndim != 2:
        raise ValueError(f"prob_hw: expected uint8 (h, w), got {prob_hw.dtype} {prob_hw.shape}")
    if not 1 <= threshold <= 255 or connectivity not in {4, 8}:
        raise ValueError(f"threshold {threshold} is not 1..255, or connectivity {connectivity}")
    shape = (prob_hw.shape[0], prob_hw.shape[1])
    if not prob_hw.size or int(prob_hw.max()) < threshold:
        nothing = np.zeros(0, np.int64)
        return Components(nothing, nothing, nothing, shape)
    rows = np.flatnonzero(prob_hw.max(axis=1) >= threshold)
    columns = np.flatnonzero(prob_hw.max(axis=0) >= threshold)
    top, left = int(rows[0]), int(columns[0])
    part_hw = prob_hw[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    _, ship_hw = cv2.threshold(part_hw, threshold - 1, 1, cv2.THRESH_BINARY)
    # Ships are few pixels. Listing them is cheaper than OpenCV's statistics, which take 2 to 10 ms
    # at 768x768 px, and whoever draws, counts or compares components needs no frame.
    pixels = np.flatnonzero(ship_hw.view(np.bool_))
    labels = _label(ship_hw, connectivity).ravel()[pixels].astype(np.int64)
    row, column = np.divmod(pixels, ship_hw.shape[1])
    pixels = (row + top) * shape[1] + column + left
    return Components(pixels, labels, np.bincount(labels)[1:], shape)


def _label(
    ship_hw: npt.NDArray[np.uint8], connectivity: Connectivity
) -> npt.NDArray[np.uint16] | npt.NDArray[np.int32]:
    # 16-bit labels: a third of the time of 32 bits.
    labels_hw: npt.NDArray[np.uint16]
    try:
        _, labels_hw = cv2.connectedComponents(ship_hw, connectivity=connectivity, ltype=cv2.CV_16U)
    except cv2.error:
        # OpenCV also counts labels that it merges later, so the number is made sure of.
        count, labels_hw = cv2.connectedComponents(
            ship_hw, connectivity=connectivity, ltype=cv2.CV_32S
        )
        if count - 1 > MAX_COMPONENTS:
            raise DataError(
                f"a map of {ship_hw.shape[0]}x{ship_hw.shape[1]} px has {count - 1:,} connected "
                f"components; expected at most {MAX_COMPONENTS:,}. Such a map is noise: look at "
                "the network's training, or raise the threshold."
            ) from None
    return labels_hw


def draw_labels(components: Components, keep: npt.NDArray[np.bool_]) -> Labels:
    """Draw the components chosen by `keep`, bool (n,), as a label map of the whole image.

    Returns:
        int32 (h, w), 0 for sea, 1..n in the components' order.
    """
    labels_hw = np.zeros(components.shape, np.int32)
    numbers = np.append(0, np.where(keep, np.cumsum(keep), 0)).astype(np.int32)
    labels_hw.ravel()[components.pixels] = numbers[components.labels]
    return labels_hw
