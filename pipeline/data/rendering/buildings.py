"""Roofs, sheds, stacked containers, tanks and roads, painted on land.

Land colours as uint8 (3, H, W) enter and are painted in place, where the land reaches far enough
inland. OpenCV fills polygons with integer arithmetic.
"""

import cv2
import numpy as np

from pipeline.data.rendering.fields import between, heading

ROOFS = (
    (176, 172, 166), (150, 104, 84), (120, 118, 116), (196, 190, 180), (96, 92, 92),
    (170, 128, 104), (210, 208, 204),
)  # fmt: skip
CONTAINERS = (
    (132, 66, 56), (70, 88, 118), (160, 158, 150), (78, 102, 88), (146, 112, 70), (92, 92, 96),
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


def _plots(
    rng: np.random.Generator, shape_hw: tuple[int, int], angle: int, wide: float, deep: float
) -> list[tuple[float, float]]:
    """Centres (y, x) of the plots of a street grid that covers the scene."""
    cos, sin = heading(angle)
    height, width = shape_hw
    reach = (height + width) / 2
    off_u, off_v = float(rng.random()), float(rng.random())
    places = []
    for column in range(-int(reach / wide) - 1, int(reach / wide) + 2):
        for row in range(-int(reach / deep) - 1, int(reach / deep) + 2):
            u, v = (column + off_u) * wide, (row + off_v) * deep
            y, x = height / 2 + sin * u + cos * v, width / 2 + cos * u - sin * v
            if -wide < y < height + wide and -wide < x < width + wide:
                places.append((y, x))
    return places


def paint_town(
    rng: np.random.Generator, land: np.ndarray, inland: np.ndarray, angle: int, light: float
) -> None:
    """Streets with houses on both sides, dense in the middle of the town and thin around it."""
    height, width = land.shape[1:]
    wide, deep = between(rng, 34, 60), between(rng, 20, 34)
    centre = height * float(rng.random()), width * float(rng.random())
    size = between(rng, 60, 240)
    cos, sin = heading(angle)
    for _ in range(2 + height * width // 60_000):
        _road(rng, land, angle + (1024 if rng.random() < 0.5 else 0), light)
    for y, x in _plots(rng, (height, width), angle, wide, deep):
        away = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) ** 0.5
        if rng.random() > 1.35 - away / size or not _inland(inland, y, x, 0.5 * wide):
            continue
        pavement = between(rng, 88, 118)
        lot = _quad(y, x, angle, wide, deep)
        _fill(land, lot, (pavement, pavement * 0.98, pavement * 0.94), light)
        yard = _quad(y, x, angle, wide - 4, deep - 4)
        green = between(rng, 0.8, 1.2)
        _fill(land, yard, (62 * green, 76 * green, 50 * green), light)
        for number in range(int(rng.integers(2, 6))):
            u, v = (number - 2) * 0.2 * wide, between(rng, -0.2, 0.2) * deep
            house = (between(rng, 5, 10), between(rng, 4.5, 8))
            place = (y + sin * u + cos * v, x + cos * u - sin * v, angle)
            _raised(land, place, house, ROOFS[int(rng.integers(len(ROOFS)))], light)


def paint_port(
    rng: np.random.Generator, land: np.ndarray, inland: np.ndarray, angle: int, light: float
) -> None:
    """A port along the quay: sheds, tanks, container yards and open ground between roads."""
    height, width = land.shape[1:]
    wide, deep = between(rng, 44, 84), between(rng, 30, 46)
    busy = between(rng, 0.45, 0.92)
    for y, x in _plots(rng, (height, width), angle, wide, deep):
        if rng.random() > busy or not _inland(inland, y, x, 0.55 * deep + 6):
            continue
        ground = between(rng, 84, 150)
        lot = _quad(y, x, angle, wide - between(rng, 5, 9), deep - between(rng, 5, 9))
        _fill(land, lot, (ground, ground * 0.99, ground * 0.95), light)
        kind = float(rng.random())
        if kind < 0.42:
            shed = (wide * between(rng, 0.5, 0.82), deep * between(rng, 0.4, 0.7))
            _raised(land, (y, x, angle), shed, ROOFS[int(rng.integers(len(ROOFS)))], light)
        elif kind < 0.56:
            _tanks(rng, land, y, x, light)
        elif kind < 0.76:
            _stacks(rng, land, (y, x, angle), (wide - 12, deep - 12), light)


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
    rng: np.random.Generator,
    land: np.ndarray,
    place: tuple[float, float, int],
    room: tuple[float, float],
    light: float,
) -> None:
    """Rows of containers that fill the room of a plot (long, wide), px."""
    y, x, angle = place
    cos, sin = heading(angle)
    columns, rows = int(room[0] / 5.0), int(room[1] / 3.4)
    for row in range(rows):
        if row % 4 == 3:
            continue
        paint = CONTAINERS[int(rng.integers(len(CONTAINERS)))]
        for column in range(columns):
            if rng.random() < 0.45:
                paint = CONTAINERS[int(rng.integers(len(CONTAINERS)))]
            if rng.random() < 0.85:
                u, v = (column - columns / 2 + 0.5) * 5.0, (row - rows / 2 + 0.5) * 3.4
                box = _quad(y + sin * u + cos * v, x + cos * u - sin * v, angle, 4.6, 3.0)
                _fill(land, box, paint, light)
