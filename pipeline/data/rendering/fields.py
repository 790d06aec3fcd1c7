"""Noise, waves and draws: the numbers every part of a scene is made of.

A generator and a size enter; float32 fields leave. The package's note on reproducibility says why
there is no `normal`, `sin` or `mean` here.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

TURN = 4096
SINE = np.array([round(math.sin(2 * math.pi * i / TURN), 6) for i in range(TURN)], np.float32)
"""Sine over one turn, rounded so that every machine's library gives the same table."""


def colour(red: float, green: float, blue: float) -> np.ndarray:
    """Return a colour as float32 (3, 1, 1), to be spread over planes (3, H, W)."""
    return np.array([red, green, blue], np.float32)[:, None, None]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly from [low, high)."""
    return low + (high - low) * float(rng.random())


def draw(rng: np.random.Generator, table: Mapping[float, float], below: float = 1.0) -> float:
    """Draw a value from a table of quantiles (share -> value, shares ascending from 0 to 1).

    Args:
        rng: Source of the draw.
        table: The quantiles; values between two are taken from the line through them.
        below: Draw only from the lowest `below` of the distribution.
    """
    return draw_line(table, float(rng.random()) * below)


def draw_line(table: Mapping[float, float], at: float) -> float:
    """Value at `at` on the line through the table's points, whose places ascend."""
    for low, high in pairwise(table):
        if at <= high:
            return table[low] + (table[high] - table[low]) * (at - low) / (high - low)
    return table[max(table)]


def heading(angle: int) -> tuple[float, float]:
    """Return (cosine, sine) of `angle`, counted in 4096 steps a turn."""
    return float(SINE[(angle + TURN // 4) % TURN]), float(SINE[angle % TURN])


def turned(
    shape_hw: tuple[int, int], angle: int, centre_yx: tuple[float, float] = (0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 (H, W) coordinates along and across `angle`, in px from the centre."""
    cos, sin = heading(angle)
    y = np.arange(shape_hw[0], dtype=np.float32)[:, None] - np.float32(centre_yx[0])
    x = np.arange(shape_hw[1], dtype=np.float32)[None, :] - np.float32(centre_yx[1])
    return x * cos + y * sin, y * cos - x * sin


def noise(
    rng: np.random.Generator, shape_hw: tuple[int, int], *cells_px: float, stretch: float = 1.0
) -> np.ndarray:
    """Smooth noise, about -1 to 1, as float32 (H, W): random knots through cubic B-splines.

    Args:
        rng: Source of the knots.
        shape_hw: Height and width, px.
        *cells_px: Distance of the knots; each further one is an octave of half the strength.
        stretch: Knots lie this many times further apart along x than along y.
    """
    total = np.zeros(shape_hw, np.float32)
    for octave, cell_px in enumerate(cells_px):
        rows_at, row_weights = _spline(shape_hw[0], cell_px, float(rng.random()))
        cols_at, col_weights = _spline(shape_hw[1], cell_px * stretch, float(rng.random()))
        knots = rng.random((rows_at[-1] + 4, cols_at[-1] + 4), dtype=np.float32) * 2 - 1
        rows = sum(knots[:, cols_at + k] * col_weights[k] for k in range(4))
        weights = row_weights * np.float32(2.2 * 0.5**octave)
        for k in range(4):
            total += np.take(rows, rows_at + k, axis=0) * weights[k][:, None]
    return total


def _spline(length: int, cell_px: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """First knot (length,) and float32 weights (4, length) of the cubic B-spline at each pixel."""
    at = np.arange(length) / cell_px + offset
    first = at.astype(np.int64)
    t = at - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return first, (np.stack(weights) / 6).astype(np.float32)


def ripples(
    rng: np.random.Generator,
    shape_hw: tuple[int, int],
    angle: int,
    lengths_px: list[float],
    warp: np.ndarray,
) -> np.ndarray:
    """Sum of bent plane waves around `angle`, about -1 to 1, as float32 (H, W).

    Args:
        rng: Source of the waves' phases and of how far each turns off.
        shape_hw: Height and width, px.
        angle: Where the waves run to, in 4096 steps a turn.
        lengths_px: Length of each wave.
        warp: What bends the crests, about -1 to 1, (H, W).
    """
    total = np.zeros(shape_hw, np.float32)
    y = np.arange(shape_hw[0], dtype=np.float32)[:, None]
    x = np.arange(shape_hw[1], dtype=np.float32)[None, :]
    for length_px in lengths_px:
        cos, sin = heading(angle + int(between(rng, -300, 300)))
        per_px = TURN / length_px
        phase = warp * np.float32(TURN * between(rng, 0.5, 1.1)) + x * np.float32(cos * per_px)
        phase += y * np.float32(sin * per_px) + np.float32(rng.integers(TURN))
        total += SINE[phase.astype(np.int32) & (TURN - 1)]
    return total * np.float32(1 / len(lengths_px) ** 0.5)


def grain(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """White noise of mean 0 and standard deviation 1, bounded by ±2.5, as float32 of `shape`."""
    count = math.prod(shape)
    first, second = np.frombuffer(rng.bytes(2 * count), np.uint8).reshape(2, count)
    return ((first.astype(np.int16) + second - 255).astype(np.float32) * (1 / 104.5)).reshape(shape)
