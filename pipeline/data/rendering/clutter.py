"""What is not a ship but might be taken for one: rocks, buoys, foam, piers, fish farms.

A scene's float32 planes (3, H, W) enter and are painted in place, away from ships.
"""

import numpy as np

from pipeline.data.rendering.fields import between, colour, noise, turned

THINGS_PER_TILE = 0.1
"""Rare: in the competition networks tell images with ships from those without in 0.987 of the
cases, and a few hundred tiles teach what a rock is only if most of the sea is free of them."""


def scatter_clutter(
    rng: np.random.Generator, scene: np.ndarray, blocked: np.ndarray, tile_px: int, light: float
) -> None:
    """Scatter things over the open water.

    Args:
        rng: Source of every choice.
        scene: Float32 (3, H, W), changed in place.
        blocked: Bool (H, W), True on land and on ships.
        tile_px: Side of a tile, px.
        light: Brightness of what the sun lights; 1 is usual.
    """
    height, width = blocked.shape
    tiles = height * width / tile_px**2
    kinds = (_rock, _buoys, _foam, _farm)
    for _ in range(int(tiles * THINGS_PER_TILE + float(rng.random()))):
        y, x = height * float(rng.random()), width * float(rng.random())
        kind = kinds[int(rng.integers(len(kinds)))]
        radius = between(rng, 3, 14) if kind is not _farm else between(rng, 14, 34)
        reach = int(3 * radius) + 4
        rows = slice(max(0, int(y) - reach), min(height, int(y) + reach))
        cols = slice(max(0, int(x) - reach), min(width, int(x) + reach))
        if not blocked[rows, cols].any():
            view = scene[:, rows, cols]
            kind(rng, view, (y - rows.start, x - cols.start), radius, light)


Place = tuple[float, float]


def _blob(
    rng: np.random.Generator, view: np.ndarray, place: Place, radius: float, rough: float
) -> np.ndarray:
    """About px inside a ragged blob, negative outside, (h, w)."""
    size = view.shape[1], view.shape[2]
    along, across = turned(size, int(rng.integers(4096)), place)
    away = np.sqrt(along * along + across * across * np.float32(between(rng, 1, 4)))
    away -= noise(rng, size, 7.0, 3.0) * np.float32(rough * radius)
    return np.asarray(np.float32(radius) - away)


def _rock(
    rng: np.random.Generator, view: np.ndarray, place: Place, radius: float, light: float
) -> None:
    inside = _blob(rng, view, place, radius, 0.6)
    surf = np.clip(1 - np.abs(inside + 1) * np.float32(0.6), 0, 1) * np.float32(
        between(rng, 0, 0.6)
    )
    solid = np.clip(inside * np.float32(0.8), 0, 1)
    grey = between(rng, 45, 120) * light
    shade = noise(rng, (view.shape[1], view.shape[2]), 3.5) * 18 + np.float32(grey)
    view += surf * (np.float32(190 * light) - view)
    view += solid * (shade * colour(1.06, 1.0, 0.88) - view)


def _buoys(
    rng: np.random.Generator, view: np.ndarray, place: Place, radius: float, light: float
) -> None:
    size = view.shape[1], view.shape[2]
    for _ in range(int(rng.integers(1, 4))):
        y = place[0] + between(rng, -radius, radius)
        x = place[1] + between(rng, -radius, radius)
        along, across = turned(size, 0, (y, x))
        dot = np.clip(np.float32(between(rng, 1.0, 1.8)) - np.sqrt(along**2 + across**2), 0, 1)
        view += dot * np.float32(between(rng, 20, 90) * light)


def _foam(
    rng: np.random.Generator, view: np.ndarray, place: Place, radius: float, light: float
) -> None:
    size = view.shape[1], view.shape[2]
    lace = np.clip(noise(rng, size, 5.0, 2.4) * 1.6, 0, 1)
    patch = np.clip(_blob(rng, view, place, 1.3 * radius, 0.7) * np.float32(0.2), 0, 1)
    view += patch * lace * np.float32(between(rng, 30, 90) * light)


def _farm(
    rng: np.random.Generator, view: np.ndarray, place: Place, radius: float, light: float
) -> None:
    """Fish cages or mussel lines: thin dark or bright marks in a regular grid."""
    along, across = turned((view.shape[1], view.shape[2]), int(rng.integers(4096)), place)
    wide, deep = between(rng, 4, 9), between(rng, 7, 13)
    u, v = along * np.float32(1 / wide), across * np.float32(1 / deep)
    marks = np.clip(1.1 - np.abs(v - np.floor(v) - 0.5) * np.float32(deep * 1.1), 0, 1)
    if rng.random() < 0.5:
        marks *= np.abs(u - np.floor(u) - 0.5) < 0.3
    inside = (np.abs(along) < radius) & (np.abs(across) < 0.6 * radius)
    sign = 1 if rng.random() < 0.6 else -0.5
    view += marks * inside * np.float32(sign * between(rng, 12, 50) * light)
