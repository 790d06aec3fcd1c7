"""Where ships lie, how long and how wide they are: what the masks are made of.

Numbers enter; ships and the scene's label map leave. Sizes follow the
quantiles measured on the competition's masks, in pixels. A mask is the hull's rectangle, made
1-3 px larger; where two meet, both lose the pixels they share.
Source: 6,000 masks of the competition's training set.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.data.rendering.fields import between, draw, draw_line, heading, turned

LENGTH_PX: dict[float, float] = {
    0: 5, 0.01: 7, 0.05: 10, 0.25: 18, 0.5: 43, 0.75: 90, 0.95: 215, 0.99: 300, 1: 350,
}  # fmt: skip
ASPECT_AT_LENGTH: dict[float, float] = {
    4: 1.3, 9: 1.8, 17: 2.4, 39: 3.4, 81: 4.2, 201: 5.5, 340: 5.8,
}  # fmt: skip
ASPECT_SPREAD: dict[float, float] = {0: 0.55, 0.05: 0.68, 0.5: 1.0, 0.95: 1.38, 1: 1.6}
CONTRAST: dict[float, float] = {0: -32, 0.05: -13, 0.25: 2, 0.5: 28.5, 0.75: 50, 0.95: 92, 1: 140}
KINDS = ("cargo", "container", "bulk", "tanker", "ferry", "barge", "plain")


@dataclass(frozen=True)
class Ship:
    """One ship and its mask, in the scene's pixels.

    Attributes:
        y: Row of the centre.
        x: Column of the centre.
        angle: Where the bow points, in 4096 steps a turn.
        length_px: Of the mask's rectangle.
        width_px: Of the mask's rectangle.
        loose_px: The hull is this much shorter and narrower than its mask.
        kind: What is drawn: "boat", or one of `KINDS`.
        contrast: Mean grey inside the mask minus that around it, grey levels aimed at.
        wake: Length of the wake in ship lengths; 0 for a ship at rest.
    """

    y: float
    x: float
    angle: int
    length_px: float
    width_px: float
    loose_px: float
    kind: str
    contrast: float
    wake: float


def ship_sized(
    rng: np.random.Generator,
    angle: int,
    max_px: float,
    length_px: float | None = None,
    *,
    at_rest: bool = False,
) -> Ship:
    """Draw a ship, still at (0, 0); `length_px` is drawn too where none is given.

    Lengths above `max_px` are folded to the longest ships there may be, so that the cap leaves
    the quantiles below it alone.
    """
    length = draw(rng, LENGTH_PX) if length_px is None else length_px
    if length > max_px:
        length = max_px * between(rng, 0.6, 1.0)
    aspect = draw_line(ASPECT_AT_LENGTH, length) * draw(rng, ASPECT_SPREAD)
    width = max(2.5, length / max(1.05, aspect))
    loose = min(between(rng, 1.0, 3.0), 0.28 * width)
    kind = "boat" if length < between(rng, 18, 34) else KINDS[int(rng.integers(len(KINDS)))]
    moving = not at_rest and rng.random() < 0.45
    wake = between(rng, 0.8, 4.5) if moving else 0.0
    return Ship(0.0, 0.0, angle, length, width, loose, kind, draw(rng, CONTRAST), wake)


def window(ship: Ship, margin_px: float, shape_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the box around a ship's mask, cut at the scene's edge."""
    cos, sin = heading(ship.angle)
    half_x = (abs(cos) * ship.length_px + abs(sin) * ship.width_px) / 2 + margin_px
    half_y = (abs(sin) * ship.length_px + abs(cos) * ship.width_px) / 2 + margin_px
    return (
        slice(
            max(0, math.floor(ship.y - half_y)), min(shape_hw[0], math.ceil(ship.y + half_y) + 1)
        ),
        slice(
            max(0, math.floor(ship.x - half_x)), min(shape_hw[1], math.ceil(ship.x + half_x) + 1)
        ),
    )


def mask_of(ship: Ship, box: tuple[slice, slice], margin_px: float = 0) -> np.ndarray:
    """Bool (H, W) of the box's pixels whose centre is in the mask, `margin_px` wider all round."""
    rows, cols = box
    shape_hw = (rows.stop - rows.start, cols.stop - cols.start)
    along, across = turned(shape_hw, ship.angle, (ship.y - rows.start, ship.x - cols.start))
    lengthwise = np.abs(along) <= ship.length_px / 2 + margin_px
    return np.asarray(lengthwise & (np.abs(across) <= ship.width_px / 2 + margin_px))


def label_ships(ships: list[Ship], shape_hw: tuple[int, int]) -> np.ndarray:
    """Label map int32 (H, W): 0 = no ship, n = the n-th ship; what two claim is no one's."""
    labels = np.zeros(shape_hw, np.int32)
    claims = np.zeros(shape_hw, np.uint8)
    for number, ship in enumerate(ships, start=1):
        box = window(ship, 0, shape_hw)
        inside = mask_of(ship, box)
        labels[box][inside] = number
        claims[box] += inside
    labels[claims > 1] = 0
    return labels
