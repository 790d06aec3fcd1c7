"""Coasts, harbours and islands: where there is land, and what it looks like from above.

A generator and a size enter; a `Ground` leaves: how far each pixel is inland, the berths along
quays, and the land's colours.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.rendering.buildings import paint_port, paint_town
from pipeline.data.rendering.fields import between, draw_line, heading, noise, turned

BIOMES = {
    "green": ((34, 52, 30), (70, 88, 50), (104, 112, 66)),
    "dry": ((118, 100, 76), (150, 130, 100), (92, 84, 62)),
    "grey": ((92, 92, 90), (128, 124, 118), (70, 76, 66)),
    "forest": ((20, 38, 26), (30, 50, 32), (48, 64, 40)),
}


@dataclass(frozen=True)
class Berth:
    """A straight quay: from (y, x) for `length_px` along `angle`; the water is on its right."""

    y: float
    x: float
    angle: int
    length_px: float


@dataclass(frozen=True)
class Ground:
    """Where a scene has land.

    Attributes:
        inland_hw: Float32 (H, W), about px from the shore; negative on the water. None: no land.
        berths: Quays to lie along.
        built: Whether the shore is quays and yards rather than sand and rock.
        angle: Of the quay or of the streets, in 4096 steps a turn.
    """

    inland_hw: np.ndarray | None
    berths: list[Berth]
    built: bool
    angle: int


def lay_ground(rng: np.random.Generator, shape_hw: tuple[int, int], theme: str) -> Ground:
    """Lay out the land of a scene: theme "open", "coast", "harbour" or "islands"."""
    if theme == "coast":
        return Ground(_coast(rng, shape_hw), [], built=False, angle=int(rng.integers(4096)))
    if theme == "islands":
        return Ground(_islands(rng, shape_hw), [], built=False, angle=int(rng.integers(4096)))
    if theme == "harbour":
        return _harbour(rng, shape_hw)
    return Ground(None, [], built=False, angle=0)


def _coast(rng: np.random.Generator, shape_hw: tuple[int, int]) -> np.ndarray:
    """A shore of bays and headlands through the scene."""
    size = min(shape_hw)
    centre = tuple(side * between(rng, 0.15, 0.85) for side in shape_hw)
    _, across = turned(shape_hw, int(rng.integers(4096)), (centre[0], centre[1]))
    bays = noise(rng, shape_hw, size / 1.6, size / 4, size / 9, size / 20, size / 45)
    return across + bays * np.float32(size * between(rng, 0.08, 0.2))


def _islands(rng: np.random.Generator, shape_hw: tuple[int, int]) -> np.ndarray:
    """A few islands and rocks."""
    inland = np.full(shape_hw, -1e4, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        y, x = (side * float(rng.random()) for side in shape_hw)
        radius = draw_line({0: 4, 0.6: 22, 1: 90}, float(rng.random()))
        along, across = turned(shape_hw, int(rng.integers(4096)), (y, x))
        away = np.sqrt(along * along + across * across * np.float32(between(rng, 1, 5)))
        np.maximum(inland, np.float32(radius) - away, out=inland)
    rough = noise(rng, shape_hw, 40.0, 17.0, 8.0, 4.0)
    return np.asarray(inland + rough * 9)


def _harbour(rng: np.random.Generator, shape_hw: tuple[int, int]) -> Ground:
    """A straight quay through the scene, with up to three piers standing out of it."""
    angle = int(rng.integers(4096))
    centre = [side * between(rng, 0.25, 0.75) for side in shape_hw]
    along, across = turned(shape_hw, angle, (centre[0], centre[1]))
    inland = -across
    cos, sin = heading(angle)
    reach = max(shape_hw)

    def berth(u: float, v: float, turn: int, length_px: float) -> Berth:
        y, x = centre[0] + sin * u + cos * v, centre[1] + cos * u - sin * v
        return Berth(y, x, angle + turn, length_px)

    berths = []
    at = -0.6 * reach
    for _ in range(1 + int(reach / 140)):
        gap, wide = between(rng, 40, 190), between(rng, 7, 34)
        out = between(rng, 40, 200)
        middle, half = at + gap + wide / 2, wide / 2
        berths.append(berth(at, 0, 0, gap))
        if rng.random() < 0.6:
            pier = np.minimum(half - np.abs(along - np.float32(middle)), np.float32(out) - across)
            np.maximum(inland, pier, out=inland)
            berths.append(berth(middle + half, out, 3072, out))
            berths.append(berth(middle - half, 0, 1024, out))
        at += gap + wide
    return Ground(inland, berths, built=True, angle=angle)


def paint_land(rng: np.random.Generator, ground: Ground, light: float) -> np.ndarray:
    """Colours of the land, float32 (3, H, W), 0-255, for every pixel of the scene.

    Args:
        rng: Source of every choice.
        ground: The lay of the land.
        light: How bright the picture is; 1 is usual.
    """
    if ground.inland_hw is None:
        raise ValueError("there is no land to paint")
    shape_hw = ground.inland_hw.shape[0], ground.inland_hw.shape[1]
    names = ["grey", "grey", "dry"] if ground.built else ["green", "dry", "forest", "green", "grey"]
    low, high, third = BIOMES[names[int(rng.integers(len(names)))]]
    blotches = (90.0, 40.0) if ground.built else (110.0, 50.0, 23.0, 11.0)
    broad = np.clip(noise(rng, shape_hw, *blotches) * np.float32(0.5) + np.float32(0.5), 0, 1)
    fine = noise(rng, shape_hw, 4.5, 2.2) + noise(rng, shape_hw, 1.6) * np.float32(0.5)
    planes = [a + (b - a) * broad for a, b in zip(low, high, strict=True)]
    if not ground.built and rng.random() < 0.5:
        _plough(rng, planes, third)
    relief = 1 + fine * np.float32(
        between(rng, 0.06, 0.12) if ground.built else between(rng, 0.1, 0.22)
    )
    land = np.stack([plane * relief for plane in planes])
    land = np.clip(land * np.float32(light), 0, 255).astype(np.uint8)
    if ground.built:
        paint_port(rng, land, ground.inland_hw, ground.angle, light)
    elif rng.random() < 0.55:
        paint_town(rng, land, ground.inland_hw, ground.angle, light)
    return land.astype(np.float32)


def _plough(rng: np.random.Generator, planes: list[np.ndarray], third: tuple[int, ...]) -> None:
    """Lay fields of several colours over part of the land."""
    shape_hw = planes[0].shape[0], planes[0].shape[1]
    along, across = turned(shape_hw, int(rng.integers(4096)))
    bend = noise(rng, shape_hw, 90.0)
    wide, deep = between(rng, 24, 70), between(rng, 16, 40)
    rows = np.floor((across + bend * 6) * np.float32(1 / deep)).astype(np.int32)
    shifts = rng.random(64, dtype=np.float32)[rows & 63]
    columns = np.floor((along + bend * 5) * np.float32(1 / wide) + shifts * 3).astype(np.int32)
    plots = rng.random((64, 64), dtype=np.float32)[rows & 63, columns & 63]
    farmed = (noise(rng, shape_hw, 110.0) > between(rng, -0.4, 0.4)) & (plots > 0.15)
    for channel, plane in enumerate(planes):
        colours = third[channel] * (0.55 + 0.75 * plots) + 14 * (plots > 0.7)
        plane[farmed] = (0.3 * plane + 0.7 * colours)[farmed]
