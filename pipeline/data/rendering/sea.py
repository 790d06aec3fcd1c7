"""The water of a scene, and the air above it: tone, swell, glint, white caps, clouds, haze.

A generator and a size enter; float32 planes (3, H, W), 0-255, leave or are changed in place.
Tones follow the mean colours measured on the competition's tiles.
Source: 342 tiles of the competition; mean RGB p5/p50/p95 is R 2/22/118, G 4/51/132, B 6/61/125.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.rendering.fields import between, colour, draw, draw_line, noise, ripples

TONES: tuple[dict[float, float], ...] = (
    {0: 0.5, 0.08: 1.5, 0.25: 5, 0.5: 13, 0.75: 30, 0.9: 66, 1: 115},
    {0: 2, 0.08: 3, 0.25: 20, 0.5: 41, 0.75: 62, 0.9: 94, 1: 135},
    {0: 4, 0.08: 5, 0.25: 30, 0.5: 54, 0.75: 73, 0.9: 100, 1: 130},
)
WAVES: dict[float, float] = {0: 1.8, 0.05: 2.4, 0.25: 4, 0.5: 5.8, 0.75: 8, 0.95: 13, 1: 18}


@dataclass(frozen=True)
class Weather:
    """What the whole of a scene shares.

    Attributes:
        tone: Mean red, green, blue of the open water.
        waves: Strength of the waves, grey levels.
        wind: Where the waves run to, in 4096 steps a turn.
        foam: Share of white caps, 0 for none.
        clouds: Share of the sky under cloud, 0 for none.
        haze: Share of light that comes from the air, 0-1.
        light: Brightness of land and ships; 1 is usual.
        noise: Standard deviation of the sensor's noise, grey levels.
    """

    tone: tuple[float, float, float]
    waves: float
    wind: int
    foam: float
    clouds: float
    haze: float
    light: float
    noise: float


def draw_weather(rng: np.random.Generator) -> Weather:
    """Draw the weather of a scene."""
    rank = float(rng.random())
    # From green to blue waters; violet ones, red above green, there are none.
    green = between(rng, 0.9, 1.12)
    shift = (green * between(rng, 0.75, 1.04), green, 2.04 - green * between(rng, 0.97, 1.05))
    red, grn, blue = (draw_line(t, rank) * s for t, s in zip(TONES, shift, strict=True))
    waves = draw(rng, WAVES) * (0.7 + 0.7 * rank)
    rough = waves > 4.5 and rng.random() < 0.4
    return Weather(
        tone=(red, grn, blue),
        waves=waves,
        wind=int(rng.integers(4096)),
        foam=between(rng, 0.1, 1.0) if rough else 0.0,
        clouds=between(rng, 0.05, 0.6) if rng.random() < 0.13 else 0.0,
        haze=between(rng, 0.05, 0.4) if rng.random() < 0.15 else 0.0,
        light=0.7 + 0.35 * rank + between(rng, -0.12, 0.12),
        noise=between(rng, 0.7, 1.3) + 0.9 * rank * float(rng.random()),
    )


def paint_sea(
    rng: np.random.Generator, shape_hw: tuple[int, int], weather: Weather, tile_px: int
) -> np.ndarray:
    """Paint open water, float32 (3, H, W)."""
    broad = noise(rng, shape_hw, tile_px * between(rng, 0.6, 1.4), tile_px / 3, tile_px / 7)
    warp = noise(rng, shape_hw, between(rng, 25, 60), 12.0)
    short = between(rng, 4.5, 9)
    waves = ripples(rng, shape_hw, weather.wind, [short, short * 1.37, short * 2.3], warp)
    # Waves come in groups: the swell is strong here and weak there.
    groups = noise(rng, shape_hw, 45.0, 20.0) * 0.4 + 0.55
    swell = between(rng, 14, 55)
    long = ripples(rng, shape_hw, weather.wind + int(between(rng, -300, 300)), [swell], warp)
    chop = noise(rng, shape_hw, 3.2, 1.7)
    surface = waves * groups * 0.75 + long * np.float32(between(rng, 0.1, 0.5)) + chop * 0.55
    surface *= np.float32(weather.waves)
    if rng.random() < 0.3:
        surface += _glint(rng, shape_hw, weather, broad)
    drift = broad * np.float32(between(rng, 0.02, 0.11) * (sum(weather.tone) / 3 + 6))
    if rng.random() < 0.25:
        drift += _slicks(rng, shape_hw, weather)
    sea = drift * colour(0.8, 1.0, 0.95) + surface + colour(*weather.tone)
    if weather.foam:
        sea += _white_caps(rng, shape_hw, weather, groups)
    return np.asarray(sea)


def _glint(
    rng: np.random.Generator, shape_hw: tuple[int, int], weather: Weather, broad: np.ndarray
) -> np.ndarray:
    """Sparks of sunlight on the steepest wavelets of part of the water."""
    sparks = np.maximum(noise(rng, shape_hw, 2.1, 1.6) - np.float32(between(rng, 0.5, 0.9)), 0)
    return sparks * np.maximum(broad + 0.35, 0) * np.float32(weather.waves * between(rng, 3, 8))


def _slicks(rng: np.random.Generator, shape_hw: tuple[int, int], weather: Weather) -> np.ndarray:
    """Long smooth bands that wind and currents draw on the water."""
    warp = noise(rng, shape_hw, 120.0, 50.0, 22.0)
    bands = ripples(rng, shape_hw, int(rng.integers(4096)), [between(rng, 90, 260)], warp)
    thin = np.maximum(np.abs(bands) * -1 + np.float32(between(rng, 0.12, 0.5)), 0)
    strength = between(rng, 6, 26) * (0.3 + sum(weather.tone) / 250)
    return np.asarray(thin * np.float32(strength if rng.random() < 0.7 else -strength))


def _white_caps(
    rng: np.random.Generator, shape_hw: tuple[int, int], weather: Weather, groups: np.ndarray
) -> np.ndarray:
    """Breaking crests: short bright strokes, more where the waves are high."""
    crests = noise(rng, shape_hw, 1.5, stretch=between(rng, 1.3, 2.2))
    gate = noise(rng, shape_hw, 9.0, 4.0) + groups * 0.5
    level = np.float32(2.35 - 0.5 * weather.foam)
    strength = np.float32(between(rng, 60, 130) * (0.35 + 0.65 * weather.light))
    return np.clip((crests + gate - level) * strength, 0, 85)


def paint_shallows(
    rng: np.random.Generator,
    scene: np.ndarray,
    inland: np.ndarray,
    land: np.ndarray,
    *,
    built: bool,
) -> None:
    """Lay the land over the water, with a beach, surf and shallows where the shore is not built."""
    shape_hw = inland.shape[0], inland.shape[1]
    solid = np.clip(inland + 0.5, 0, 1)
    if not built:
        wander = noise(rng, shape_hw, 24.0, 9.0) * 4
        depth = between(rng, 8, 55)
        shallow = np.clip(1 + (inland + wander) / np.float32(depth), 0, 1)
        shallow *= shallow * np.float32(between(rng, 0.1, 0.55))
        beach = np.clip(1 - inland / np.float32(between(rng, 1.5, 9)) + wander * 0.1, 0, 1)
        surf = np.clip(1 - np.abs(inland + 2 + wander * 0.6) * np.float32(0.5), 0, 1)
        surf *= np.float32(between(rng, 0, 0.8))
        bright = between(rng, 0.5, 1.0)
        scene += shallow * (colour(50, 108, 104) - scene)
        scene += surf * (np.float32(205 * bright) - scene)
        sand = colour(186 * bright, 172 * bright, 142 * bright)
        scene += solid * (land + beach * (sand - land) - scene)
        return
    edge = np.clip(1 - np.abs(inland - 1.2) * np.float32(0.6), 0, 1) * np.float32(0.5)
    dark = np.clip(1 - np.abs(inland + 1.5) * np.float32(0.5), 0, 1) * np.float32(0.35)
    scene *= 1 - dark
    scene += solid * (land + edge * (np.float32(168) - land) - scene)


def cloud_cover(rng: np.random.Generator, shape_hw: tuple[int, int], share: float) -> np.ndarray:
    """Opacity of clouds, 0-1, as float32 (H, W); `share` of the sky is under them."""
    size = between(rng, 60, 320)
    octaves = [size / 2.1**k for k in range(8) if size / 2.1**k > 2.5]
    billows = noise(rng, shape_hw, *octaves) + noise(rng, shape_hw, 9.0, 4.0) * 0.12
    billows = (billows + np.float32(2.2 * share - 1.2)) * np.float32(between(rng, 0.9, 3.2))
    veil = np.clip(billows, 0, 1)
    return np.asarray(veil * veil * (3 - 2 * veil))


def paint_clouds(
    rng: np.random.Generator, scene: np.ndarray, weather: Weather, opacity: np.ndarray | None
) -> None:
    """Lay clouds with their shadows, and haze, over all that is painted."""
    shape_hw = scene.shape[1], scene.shape[2]
    if opacity is not None:
        off = [int(between(rng, 6, 40)) for _ in range(2)]
        near = [np.maximum(np.arange(n) - k, 0) for n, k in zip(shape_hw, off, strict=True)]
        shadow = opacity[near[0]][:, near[1]] * np.float32(between(rng, 0.2, 0.5))
        bright = between(rng, 165, 240)
        folds = noise(rng, shape_hw, 34.0, 17.0, 8.0, 3.5) * 12 + opacity * 30
        folds += np.float32(bright - 30)
        scene *= 1 - shadow
        scene += opacity * (folds - scene)
    if weather.haze:
        thick = noise(rng, shape_hw, 260.0, 110.0) * 0.35 + 1
        thick = np.clip(thick * np.float32(weather.haze), 0, 0.8)
        scene += thick * (colour(112, 124, 132) - scene)
