"""Roofs, sheds, stacked containers, tanks and roads, painted on land.

Land colours as uint8 (3, H, W) enter and are painted in place, where the land reaches far enough
inland. OpenCV fills polygons with integer arithmetic.
"""

import cv2
import numpy as np

from pipeline.data.rendering.fields import between, heading

__all__ = ["paint_town", "paint_yard"]

ROOFS = (
    (176, 172, 166), (150, 104, 84), (120, 118, 116), (196, 190, 180), (96, 92, 92),
    (170, 128, 104), (210, 208, 204),
)  # fmt: skip
CONTAINERS = (
    (150, 60, 48), (56, 84, 132), (176, 172, 160), (60, 104, 84), (170, 116, 52), (88, 88, 92),
)  # fmt: skip
Colour = tuple[float, float, float]


def _quad(y: float, x: float, angle: int, long: float, wide: float) -> np.ndarray:
    """Corners of a rectangle around (y, x), int32 (4, 2) as x, y in sixteenths of a px."""
    cos, sin = heading(angle)
    corners = [
        (long / 2, wide / 2),
        (-long / 2, wide / 2),
        (-long / 2, -wide / 2),
        (long / 2, -wide / 2),
    ]
    points = [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners]
    return np.array([[round(a * 16), round(b * 16)] for a, b in points], np.int32)


def _fill(land: np.ndarray, points: np.ndarray, colour: Colour, light: float) -> None:
    for plane, value in zip(land, colour, strict=True):
        cv2.fillConvexPoly(plane, points, min(255, round(value * light)), cv2.LINE_AA, 4)


def _shade(land: np.ndarray, points: np.ndarray, light: float) -> None:
    _fill(land, points, (34, 36, 40), light)


def _raised(
    land: np.ndarray,
    place: tuple[float, float, int],
    size: tuple[float, float],
    colour: Colour,
    light: float,
) -> None:
    """A block with its shadow, one half of the roof brighter."""
    y, x, angle = place
    long, wide = size
    drop = min(4.0, 0.22 * wide)
    _shade(land, _quad(y + drop, x + drop, angle, long, wide), light)
    _fill(land, _quad(y, x, angle, long, wide), colour, light)
    cos, sin = heading(angle)
    ridge = _quad(y - cos * wide / 4, x + sin * wide / 4, angle, long, wide / 2)
    _fill(land, ridge, (colour[0] * 1.12, colour[1] * 1.12, colour[2] * 1.12), light)


def _inland(inland: np.ndarray, y: float, x: float, least: float) -> bool:
    row, column = int(y), int(x)
    inside = 0 <= row < inland.shape[0] and 0 <= column < inland.shape[1]
    return inside and bool(inland[row, column] > least)


def _road(rng: np.random.Generator, land: np.ndarray, angle: int, light: float) -> None:
    height, width = land.shape[1:]
    y, x = height * float(rng.random()), width * float(rng.random())
    grey = between(rng, 105, 160)
    _fill(
        land,
        _quad(y, x, angle, 3.0 * (height + width), between(rng, 2, 5)),
        (grey, grey, grey * 0.97),
        light,
    )


def paint_town(
    rng: np.random.Generator, land: np.ndarray, inland: np.ndarray, light: float
) -> None:
    """Roads and, along them, houses in blocks, thick in some places and thin in others."""
    angle = int(rng.integers(4096))
    height, width = land.shape[1:]
    for _ in range(1 + height * width // 60_000):
        _road(rng, land, angle + (1024 if rng.random() < 0.5 else 0), light)
    for _ in range(1 + height * width // 25_000):
        centre_y, centre_x = height * float(rng.random()), width * float(rng.random())
        spread = between(rng, 12, 55)
        usual = between(rng, 5, 16)
        for _ in range(int(rng.integers(3, 26))):
            y = centre_y + between(rng, -spread, spread)
            x = centre_x + between(rng, -spread, spread)
            if _inland(inland, y, x, 1.5 * usual):
                turn = angle + (1024 if rng.random() < 0.4 else 0)
                size = (usual * between(rng, 0.8, 2.0), usual * between(rng, 0.6, 1.0))
                colour = ROOFS[int(rng.integers(len(ROOFS)))]
                _raised(land, (y, x, turn), size, colour, light)


def paint_yard(
    rng: np.random.Generator, land: np.ndarray, inland: np.ndarray, light: float
) -> None:
    """A port: roads, sheds, tanks and rows of containers behind the quay."""
    height, width = land.shape[1:]
    angle = int(rng.integers(4096))
    for _ in range(2):
        _road(rng, land, angle, light)
    for _ in range(1 + height * width // 4_500):
        y, x = height * float(rng.random()), width * float(rng.random())
        turn = angle + (1024 if rng.random() < 0.5 else 0)
        kind = float(rng.random())
        if kind < 0.45 and _inland(inland, y, x, 20):
            size = (between(rng, 14, 60), between(rng, 9, 24))
            _raised(land, (y, x, turn), size, ROOFS[int(rng.integers(len(ROOFS)))], light)
        elif kind < 0.6 and _inland(inland, y, x, 18):
            _tanks(rng, land, y, x, light)
        elif _inland(inland, y, x, 12):
            _stacks(rng, land, (y, x, turn), light)


def _tanks(rng: np.random.Generator, land: np.ndarray, y: float, x: float, light: float) -> None:
    radius = between(rng, 3, 10)
    white = between(rng, 150, 215)
    for number in range(int(rng.integers(1, 5))):
        centre = (round((x + number * 2.4 * radius) * 16), round(y * 16))
        for plane in land:
            shadow = (centre[0] + 24, centre[1] + 24)
            cv2.circle(plane, shadow, round(radius * 16), round(36 * light), -1, cv2.LINE_AA, 4)
            bright = min(255, round(white * light))
            cv2.circle(plane, centre, round(radius * 16), bright, -1, cv2.LINE_AA, 4)


def _stacks(
    rng: np.random.Generator, land: np.ndarray, place: tuple[float, float, int], light: float
) -> None:
    y, x, angle = place
    cos, sin = heading(angle)
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(2, 9))
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.85:
                u, v = (column - columns / 2) * 5.0, (row - rows / 2) * 6.0
                colour = CONTAINERS[int(rng.integers(len(CONTAINERS)))]
                _fill(
                    land,
                    _quad(y + sin * u + cos * v, x + cos * u - sin * v, angle, 4.2, 2.4),
                    colour,
                    light,
                )
