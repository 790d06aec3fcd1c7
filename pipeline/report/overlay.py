"""Objects drawn over their image, each in a colour of its own."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.masks.rle import Labels

# Okabe and Ito's, which colour-blind people tell apart, as RGB; neighbours in number differ.
COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (240, 228, 66), (213, 94, 0), (0, 158, 115), (204, 121, 167)],
    np.uint8,
)


def overlay(image_hwc: npt.NDArray[np.uint8], labels_hw: Labels) -> npt.NDArray[np.uint8]:
    """Tint each object and line its edge.

    Args:
        image_hwc: uint8 (h, w, 3), RGB.
        labels_hw: int32 (h, w), 0 for background, 1..n for objects.

    Returns:
        uint8 (h, w, 3), RGB; the image itself where there is no object.
    """
    drawn_hwc = image_hwc.copy()
    object_hw = labels_hw > 0
    colours = COLOURS[(labels_hw[object_hw] - 1) % len(COLOURS)]
    drawn_hwc[object_hw] = (0.65 * image_hwc[object_hw] + 0.35 * colours).astype(np.uint8)
    # An object's edge: its pixels that have a neighbour outside it, the image's border included.
    around = cv2.BORDER_CONSTANT
    kernel = np.ones((3, 3), np.uint8)
    labels = labels_hw.astype(np.float32)
    lowest = cv2.erode(labels, kernel, borderType=around, borderValue=0)
    highest = cv2.dilate(labels, kernel, borderType=around, borderValue=0)
    edge_hw = object_hw & ((lowest != labels) | (highest != labels))
    drawn_hwc[edge_hw] = COLOURS[(labels_hw[edge_hw] - 1) % len(COLOURS)]
    return drawn_hwc
