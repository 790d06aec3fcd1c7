"""Where the windows and the cells of an image lie: both from its first pixel on.

Windows overlap by a quarter, and the last one of a side ends where the image does, so that an image
that goes on further to the right or below moves none but these. An image of a window or less is one
window. Cells are as large as windows and do not overlap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.inference.regions import Box

OVERLAP = 0.25
VERSION = 1
"""Of where windows lie, how they are batched, and how they are blended."""


class Group(NamedTuple):
    """Windows of a row that are predicted together.

    Attributes:
        row: Of windows.
        columns: Of windows.
    """

    row: int
    columns: range


@dataclass(frozen=True)
class Grid:
    """The windows of an image.

    Attributes:
        height: Of the image, px.
        width: The same.
        window: Height and width of a window, px, no larger than the image.
        group: The most windows of a group.
    """

    height: int
    width: int
    window: tuple[int, int]
    group: int

    @cached_property
    def tops(self) -> list[int]:
        """First rows of the windows, px, ascending."""
        return _starts(self.height, self.window[0])

    @cached_property
    def lefts(self) -> list[int]:
        """First columns of the windows, px, ascending."""
        return _starts(self.width, self.window[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return len(self.tops), len(self.lefts)

    @property
    def whole(self) -> Box:
        """The image."""
        return Box(0, 0, self.height, self.width)

    @cached_property
    def weights_hw(self) -> npt.NDArray[np.float32]:
        """What a window's pixels weigh where windows are blended, 0..1."""
        return np.outer(*map(_ramp, self.window))

    def box(self, row: int, column: int) -> Box:
        """Return the window of a row and column."""
        top, left = self.tops[row], self.lefts[column]
        return Box(top, left, top + self.window[0], left + self.window[1])

    def groups(self) -> list[Group]:
        """Return the groups, row by row; each row begins one."""
        rows, columns = self.shape
        return [
            Group(row, range(first, min(first + self.group, columns)))
            for row, first in product(range(rows), range(0, columns, self.group))
        ]

    def cells_of(self, boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the cells that hold the centres of boxes, (n, 4): their numbers, row by row."""
        rows, columns = ((boxes[:, :2] + boxes[:, 2:]) // (2 * np.array(self.window))).T
        numbers: npt.NDArray[np.int64] = rows * self._cells_a_row + columns
        return numbers

    def cell(self, number: int) -> Box:
        """Return a cell, of which a part may lie beyond the image."""
        row, column = divmod(number, self._cells_a_row)
        height, width = self.window
        return Box(row * height, column * width, (row + 1) * height, (column + 1) * width)

    @property
    def _cells_a_row(self) -> int:
        return -(-self.width // self.window[1])

    def touching(self, box: Box) -> tuple[range, range]:
        """Return the rows and the columns of the windows that share pixels with a box."""
        return (
            _touching(self.tops, self.window[0], box.top, box.bottom),
            _touching(self.lefts, self.window[1], box.left, box.right),
        )


def blocks(within: Box, side_px: int) -> Iterator[Box]:
    """Cut a box into blocks, row by row; the last ones may be smaller."""
    for top, left in product(
        range(within.top, within.bottom, side_px), range(within.left, within.right, side_px)
    ):
        yield Box(
            *(top, left), min(top + side_px, within.bottom), min(left + side_px, within.right)
        )


def _starts(length: int, window: int) -> list[int]:
    step = window - round(window * OVERLAP)
    count = 1 + -(-(length - window) // step)
    return [min(number * step, length - window) for number in range(count)]


def _touching(starts: list[int], window: int, first: int, after: int) -> range:
    ends = [start + window for start in starts]
    return range(
        int(np.searchsorted(ends, first, side="right")), int(np.searchsorted(starts, after))
    )


def _ramp(length: int) -> npt.NDArray[np.float32]:
    """Weigh a window's pixels along one side: less and less towards its edges, never nothing."""
    edge = max(1, round(length * OVERLAP))
    steps = np.arange(length, dtype=np.float32) + np.float32(0.5)
    ramp: npt.NDArray[np.float32] = np.minimum(np.minimum(steps, length - steps), edge) / edge
    return ramp
