"""One scene: laid out first, cheaply, so that tiles can be chosen; painted only if any is taken.

A seed's streams and a size enter; a `Scene` with its masks leaves `lay_out`, and its picture
leaves `paint`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.data.rendering.anchorages import place_ships
from pipeline.data.rendering.clutter import scatter_clutter
from pipeline.data.rendering.fields import between, grain
from pipeline.data.rendering.fleet import Ship, label_ships
from pipeline.data.rendering.land import Ground, lay_ground, paint_land
from pipeline.data.rendering.sea import (
    Weather,
    cloud_cover,
    draw_weather,
    paint_clouds,
    paint_sea,
    paint_shallows,
)
from pipeline.data.rendering.vessels import draw_vessel, draw_wake
from pipeline.seeds import generator

THEMES = {
    True: ((0.68, "open"), (0.84, "coast"), (1.0, "harbour")),
    False: ((0.74, "open"), (0.88, "coast"), (0.95, "islands"), (1.0, "harbour")),
}
"""Upper end of each theme's share, for scenes with ships (True) and without."""


@dataclass(frozen=True)
class Scene:
    """A scene's layout.

    Attributes:
        seed: Of the demo.
        name: Of the scene; with the seed it fixes every random choice in it.
        tile_px: Side of the tiles to be cut from it, px.
        weather: What the whole scene shares.
        ground: Where there is land.
        opacity: Of the clouds, float32 (H, W), 0-1; None for a clear sky.
        ships: In the order of their labels.
        labels_hw: Int32 (H, W): 0 = no ship, n = the n-th ship.
    """

    seed: int
    name: str
    tile_px: int
    weather: Weather
    ground: Ground
    opacity: np.ndarray | None
    ships: list[Ship]
    labels_hw: np.ndarray


def lay_out(
    seed: int,
    name: str,
    shape_hw: tuple[int, int],
    *,
    tile_px: int,
    max_ship_px: int,
    with_ships: bool,
) -> Scene:
    """Decide what is where in a scene of (height, width) px."""
    rng = generator(seed, name, "layout")
    at = float(rng.random())
    theme = next(theme for share, theme in THEMES[with_ships] if at < share)
    weather = draw_weather(rng)
    ground = lay_ground(rng, shape_hw, theme)
    opacity = cloud_cover(rng, shape_hw, weather.clouds) if weather.clouds else None
    land = np.zeros(shape_hw, bool) if ground.inland_hw is None else ground.inland_hw > -0.5
    ships: list[Ship] = []
    if with_ships:
        blocked = land if opacity is None else land | (opacity > 0.4)
        ships = place_ships(
            generator(seed, name, "ships"),
            blocked,
            ground.berths,
            tile_px=tile_px,
            max_ship_px=max_ship_px,
            crowding=between(rng, 0.3, 0.8),
        )
    labels = label_ships(ships, shape_hw)
    return Scene(seed, name, tile_px, weather, ground, opacity, ships, labels)


def paint(scene: Scene) -> np.ndarray:
    """Paint a scene as uint8 (H, W, 3) RGB."""
    rng = generator(scene.seed, scene.name, "paint")
    weather, inland = scene.weather, scene.ground.inland_hw
    shape_hw = scene.labels_hw.shape[0], scene.labels_hw.shape[1]
    picture = paint_sea(rng, shape_hw, weather, scene.tile_px)
    blocked = scene.labels_hw > 0
    if inland is not None:
        land = paint_land(rng, scene.ground, weather.light)
        paint_shallows(rng, picture, inland, land, built=scene.ground.built)
        blocked |= inland > -2
    scatter_clutter(rng, picture, blocked, scene.tile_px, weather.light)
    sun = (1 if rng.random() < 0.5 else -1, 1 if rng.random() < 0.5 else -1)
    for number, ship in enumerate(scene.ships):
        looks = generator(scene.seed, scene.name, "wake", number)
        draw_wake(looks, picture, inland, ship, weather.light)
    for number, ship in enumerate(scene.ships):
        looks = generator(scene.seed, scene.name, "vessel", number)
        draw_vessel(looks, picture, ship, sun, weather.light)
    paint_clouds(rng, picture, weather, scene.opacity)
    return _sensed(rng, picture, weather.noise)


def _sensed(rng: np.random.Generator, picture: np.ndarray, sigma: float) -> np.ndarray:
    """What the sensor makes of the light: a little blur, noise, whole grey levels."""
    soft = between(rng, 0.08, 0.2)
    for axis in (1, 2):
        before, after = np.roll(picture, 1, axis), np.roll(picture, -1, axis)
        picture += (before + after - 2 * picture) * np.float32(soft)
    shape_hw = picture.shape[1], picture.shape[2]
    picture += grain(rng, shape_hw) * np.float32(sigma)
    picture += grain(rng, picture.shape) * np.float32(0.4 * sigma)
    np.clip(picture + np.float32(0.5), 0, 255, out=picture)
    return np.ascontiguousarray(cv2.merge([plane.astype(np.uint8) for plane in picture]))
