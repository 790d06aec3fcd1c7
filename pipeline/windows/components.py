"""What is connected in an image that is seen block by block.

Blocks enter one after the other; boxes and first pixels of the connected components of the whole
leave, which do not depend on the blocks. Of a block only its last row and column are kept.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.data.grouping import connected
from pipeline.inference.regions import Box

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """The 8-connected components of an image, in no order.

    Attributes:
        boxes: Of each, int64 (n, 4), as `Box` has it.
        first_yx: Row and column of the first pixel of each, row by row, int64 (n, 2).
    """

    boxes: Integers
    first_yx: Integers


class Joined:
    """Components that grow while blocks are added, row by row, all of an image's.

    Args:
        width: Of the image, px.
    """

    def __init__(self, width: int) -> None:
        self._count = 0
        self._boxes = [np.zeros((0, 4), np.int32)]
        self._first = [np.zeros((0, 2), np.int32)]
        self._pairs = [np.zeros((0, 2), np.int64)]
        # The numbers, 1 and up, of what the last row and the last column have before the next
        # block; those of rows with a pixel of nothing before and after.
        self._above, self._below = (np.zeros(width + 2, np.int64) for _ in range(2))
        self._left = np.zeros(0, np.int64)

    def add(self, box: Box, object_hw: npt.NDArray[np.bool_]) -> None:
        """Add the next block.

        Args:
            box: Where it lies.
            object_hw: Its pixels, bool (h, w).
        """
        if box.left == 0:
            self._above, self._below = self._below, np.zeros_like(self._below)
            self._left = np.zeros(box.shape[0], np.int64)
        count, labels_hw, found, _ = cv2.connectedComponentsWithStats(
            object_hw.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        numbers = np.append(0, np.arange(1, count) + self._count)
        self._keep(box, labels_hw, found[1:, :4])
        top, side = numbers[labels_hw[0]], numbers[labels_hw[:, 0]]
        above = self._above[box.left : box.right + 2]
        left = np.pad(self._left, 1)
        for shift in range(3):
            self._pair(top, above[shift : shift + len(top)])
            self._pair(side, left[shift : shift + len(side)])
        self._left = numbers[labels_hw[:, -1]]
        self._below[box.left + 1 : box.right + 1] = numbers[labels_hw[-1]]
        self._count += count - 1

    def _keep(
        self, box: Box, labels_hw: npt.NDArray[np.int32], found: npt.NDArray[np.int32]
    ) -> None:
        left, top, width, height = found.T
        boxes = np.stack([top, left, top + height, left + width], axis=1)
        self._boxes.append(boxes + np.array([box.top, box.left] * 2, np.int32))
        pixels = np.flatnonzero(labels_hw)[::-1]
        first = np.zeros(len(found) + 1, np.int64)
        first[labels_hw.ravel()[pixels]] = pixels  # of one label, the last that is assigned stays
        first_yx = np.stack(np.divmod(first[1:], box.shape[1]), axis=1)
        self._first.append((first_yx + box[:2]).astype(np.int32))

    def _pair(self, one: Integers, other: Integers) -> None:
        both = (one > 0) & (other > 0)
        if both.any():
            self._pairs.append(np.unique(np.stack([one[both], other[both]], axis=1), axis=0) - 1)

    def components(self) -> Components:
        """Return the components of all blocks together."""
        owner = connected(np.concatenate(self._pairs), self._count)
        count = owner.max(initial=-1) + 1
        parts = np.concatenate(self._boxes)
        boxes = np.empty((count, 4), np.int64)
        boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, -1
        np.minimum.at(boxes[:, :2], owner, parts[:, :2])
        np.maximum.at(boxes[:, 2:], owner, parts[:, 2:])
        first_yx = np.concatenate(self._first)
        order = np.lexsort((first_yx[:, 1], first_yx[:, 0]))[::-1]
        chosen = np.empty(count, np.int64)
        chosen[owner[order]] = order
        return Components(boxes, first_yx[chosen].astype(np.int64))
