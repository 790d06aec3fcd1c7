"""Where an object is possible, as rectangles that a network can look at again.

A network's first pass enters, a probability for each pixel; a few rectangles leave. What lies
outside them is decided by that pass alone.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.networks.frame import next_multiple

CELL_PX = 16
CALL_PX = 96 * 96
"""What it costs, in pixels, that a window seldom shares its size, and so its passes, with many."""


@dataclass(frozen=True)
class Look:
    """How far down and how far around to look again.

    Attributes:
        threshold: An object is possible in a cell that holds a pixel of this probability.
        margin_px: What the network must see around a pixel to answer as in the whole image.
    """

    threshold: float
    margin_px: int


class Box(NamedTuple):
    """A rectangle, in pixels; `bottom` and `right` are outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def area_px(self) -> int:
        """Height times width."""
        height, width = self.shape
        return height * width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def around(self, other: Self) -> "Box":
        """Return the smallest rectangle that holds both."""
        return Box(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))

    def shared(self, other: Self) -> "Box":
        """Return what it has in common with one that it touches."""
        return Box(*map(max, self[:2], other[:2]), *map(min, self[2:], other[2:]))

    def within(self, other: Self) -> "Box":
        """Return the rectangle as it lies in one that holds it."""
        top, left = other[:2]
        return Box(self.top - top, self.left - left, self.bottom - top, self.right - left)


class Region(NamedTuple):
    """What is decided, and what the network sees for it: a core, and a window that holds it."""

    core: Box
    window: Box

    @property
    def cost_px(self) -> int:
        """What looking at it costs, in pixels of a whole image."""
        return self.window.area_px + CALL_PX


def find_regions(prob_nhw: Tensor, look: Look, stride: int, side_px: int = 1) -> list[list[Region]]:
    """Return the regions of each image in which an object is possible, [] where none is.

    A window ends at the image's border or at a multiple of the network's stride, so that the
    network divides it as it divides the whole image. Where windows would cost more than the whole
    image, that is the one region.

    Args:
        prob_nhw: Probability of object, 0..1, (N, H, W).
        look: What is possible, and the margin.
        stride: Of the network, px.
        side_px: A window's sides are multiples of it, as far as the image reaches.
    """
    cells_nhw = torch.nn.functional.max_pool2d(prob_nhw[:, None], CELL_PX, ceil_mode=True)[:, 0]
    height, width = prob_nhw.shape[1:]
    image = Box(0, 0, height, width)
    return [
        _regions(cells_hw.astype(np.uint8), image, look.margin_px, stride, side_px)
        for cells_hw in (cells_nhw >= look.threshold).cpu().numpy()
    ]


def _regions(
    cells_hw: npt.NDArray[np.uint8], image: Box, margin_px: int, stride: int, side_px: int
) -> list[Region]:
    """Return the regions of the cells that are 1."""
    _, _, found, _ = cv2.connectedComponentsWithStats(cells_hw, connectivity=8)
    waiting, regions = [], list[Region]()
    for left, top, columns, rows in found[1:, :4].tolist():
        corner = (CELL_PX * (top + rows), CELL_PX * (left + columns))
        core = Box(CELL_PX * top, CELL_PX * left, *map(min, corner, image[2:]))
        waiting.append(core)

    def region(core: Box) -> Region:
        sides = [
            _side(start - margin_px, after + margin_px, end, stride, side_px)
            for start, after, end in zip(core[:2], core[2:], image[2:], strict=True)
        ]
        return Region(core, Box(*(start for start, _ in sides), *(after for _, after in sides)))

    while waiting:
        one = region(waiting.pop())
        for other in regions:
            both = region(one.core.around(other.core))
            if both.cost_px <= one.cost_px + other.cost_px:
                regions.remove(other)
                waiting.append(both.core)
                break
        else:
            regions.append(one)
    if sum(one.cost_px for one in regions) >= image.area_px:
        return [Region(image, image)]
    return regions


def _side(first: int, after: int, end: int, stride: int, side_px: int) -> tuple[int, int]:
    """Return where a window's side begins and ends: where the image does, it reaches back."""
    last = next_multiple(end, stride)
    first = max(first, 0) // stride * stride
    after = min(next_multiple(after, stride), last)
    length = next_multiple(after - first, math.lcm(side_px, stride))
    first = max(min(first, last - length), 0)
    return first, min(first + length, end)
