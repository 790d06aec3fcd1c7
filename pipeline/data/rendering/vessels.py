"""How ships look from above: hull, deck, what stands on it, shadow, and the wake behind.

A scene's float32 planes (3, H, W) and a ship enter; the ship is drawn in place so that the mean
grey inside its mask stands off from the water around as its `contrast` says. Coordinates on the
hull: u from stern (-1) to bow (1), v from one side (-1) to the other (1).
"""

import numpy as np

from pipeline.data.rendering.fields import between, colour, noise, turned
from pipeline.data.rendering.fleet import Ship, mask_of, window

HULLS = (
    (120, 118, 116), (150, 78, 62), (70, 92, 124), (92, 96, 100), (176, 174, 168), (134, 92, 74),
    (86, 110, 96), (60, 62, 68), (150, 140, 118),
)  # fmt: skip
CARGO = (
    (168, 66, 54), (58, 92, 150), (190, 186, 176), (66, 118, 92), (188, 128, 58), (104, 104, 110),
)  # fmt: skip


def draw_vessel(
    rng: np.random.Generator, scene: np.ndarray, ship: Ship, sun: tuple[int, int], light: float
) -> None:
    """Draw one ship.

    Args:
        rng: Source of its looks.
        scene: Float32 (3, H, W), changed in place.
        ship: Its place, size, kind and contrast.
        sun: Way a shadow falls, as signs of y and x.
        light: Brightness of what the sun lights; 1 is usual.
    """
    shape_hw = scene.shape[1], scene.shape[2]
    box = window(ship, 8, shape_hw)
    if box[0].start >= box[0].stop or box[1].start >= box[1].stop:
        return
    factor = 5 if ship.length_px < 60 else 3
    colours, opacity = _pixels(rng, ship, box, factor)
    view = scene[:, box[0], box[1]]
    if ship.width_px > 8:
        drop = 1 if ship.width_px < 16 else 2
        shadow = np.roll(opacity, (sun[0] * drop, sun[1] * drop), axis=(0, 1))
        view *= 1 - np.maximum(shadow - opacity, 0) * np.float32(0.45)
    colours = _toned(colours * np.float32(light), opacity, view, ship, box)
    view += opacity * (colours - view)


def _pixels(
    rng: np.random.Generator, ship: Ship, box: tuple[slice, slice], factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (3, h, w) and opacity (h, w) of a ship in its box, from `factor`² points a pixel."""
    height, width = (part.stop - part.start for part in box)
    # The middle of the pixels' points falls on the pixel's centre.
    shift = (factor - 1) / 2
    centre = (ship.y - box[0].start) * factor + shift, (ship.x - box[1].start) * factor + shift
    along, across = turned((height * factor, width * factor), ship.angle, centre)
    u = along * np.float32(2 / ((ship.length_px - ship.loose_px) * factor))
    v = across * np.float32(2 / ((ship.width_px - ship.loose_px) * factor))
    inside, painted = _paint(rng, ship, u, v)
    blocks = (height, factor, width, factor)
    weight = _block_sums(inside.astype(np.float32).reshape(blocks))
    colours = np.stack([_block_sums((p * inside).reshape(blocks)) for p in painted])
    return colours / np.maximum(weight, 1), weight * np.float32(1 / factor**2)


def _block_sums(blocks: np.ndarray) -> np.ndarray:
    # Adding slices in a fixed order rounds alike everywhere; `sum` may not.
    rows = blocks[:, 0]
    for k in range(1, blocks.shape[1]):
        rows = rows + blocks[:, k]
    total = rows[..., 0]
    for k in range(1, blocks.shape[3]):
        total = total + rows[..., k]
    return np.asarray(total)


def _toned(
    colours: np.ndarray, opacity: np.ndarray, view: np.ndarray, ship: Ship, box: tuple[slice, slice]
) -> np.ndarray:
    """Shift and compress a ship's colours so that its mask gets the contrast aimed at."""
    mask = mask_of(ship, box)
    ring = mask_of(ship, box, 6) & ~mask
    around = _mean(_grey(view), ring.astype(np.float32))
    cover = opacity * mask
    mean = _mean(_grey(colours), cover)
    # Low contrast is the sum of bright and dark parts, not a flat film over the water.
    strength = np.float32(min(1.0, 0.3 + abs(ship.contrast) / 70))
    share = max(0.05, _mean(opacity, mask.astype(np.float32)))
    apart = ship.contrast / share
    if around + apart < 0.3 * around:
        apart = abs(apart)  # on dark water a ship can only be brighter
    aim = np.float32(around + apart)
    toned = (colours - np.float32(mean)) * strength + aim
    return np.asarray(np.clip(toned, 0, 255))


def _grey(planes: np.ndarray) -> np.ndarray:
    weighted = planes * colour(0.299, 0.587, 0.114)
    return np.asarray(weighted[0] + weighted[1] + weighted[2])


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean through integers, whose sum does not depend on its order."""
    total = int((weights * 256).astype(np.int64).sum())
    return int((values * weights * 256).astype(np.int64).sum()) / total if total else 0.0


def _paint(
    rng: np.random.Generator, ship: Ship, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the hull is, and its colours (3, ...), on the points (u, v)."""
    blunt = ship.kind == "barge"
    bow = 0.93 if blunt else between(rng, 0.35, 0.75)
    stern = between(rng, 0.05, 0.3) if not blunt else 0.05
    front = np.clip((u - np.float32(bow)) * np.float32(1 / (1 - bow)), 0, 1)
    back = np.clip((-u - np.float32(0.8)) * np.float32(5), 0, 1)
    half = 1 - front * front - back * back * np.float32(stern)
    inside = (np.abs(u) <= 1) & (np.abs(v) <= half)
    base = HULLS[int(rng.integers(len(HULLS)))]
    painted = np.empty((3, *u.shape), np.float32)
    for plane, value in zip(painted, base, strict=True):
        plane[:] = value
    painted += v * np.float32(between(rng, -14, 14))
    rim = np.abs(v) > half - np.float32(0.16)
    painted[:, rim] += np.float32(between(rng, -42, 30))
    _fit_out(rng, ship, painted, u, v)
    return inside, painted


def _fit_out(
    rng: np.random.Generator, ship: Ship, painted: np.ndarray, u: np.ndarray, v: np.ndarray
) -> None:
    """Paint what stands on the deck."""
    beam = np.abs(v)
    if ship.kind == "boat":
        middle = between(rng, -0.35, 0.1)
        _block(
            painted, (np.abs(u - np.float32(middle)) < between(rng, 0.2, 0.45)) & (beam < 0.62), 188
        )
        _block(painted, (u < -0.72) & (beam < 0.7), between(rng, 70, 150))
        return
    if ship.kind == "container":
        rows = np.floor((u + 0.62) * np.float32(ship.length_px / 14)).astype(np.int32)
        stacks = np.floor((v + 0.86) * np.float32(3.5)).astype(np.int32)
        palette = np.array(CARGO, np.float32)[rng.integers(len(CARGO), size=(64, 8))]
        laden = (u > -0.62) & (u < 0.8) & (beam < 0.86)
        painted[:, laden] = np.moveaxis(palette[rows[laden] & 63, stacks[laden] & 7], -1, 0)
    elif ship.kind in ("bulk", "cargo"):
        holds = (u + np.float32(0.55)) * np.float32(between(rng, 2.2, 4.4))
        hatch = (np.abs(holds - np.floor(holds) - 0.5) < 0.36) & (beam < 0.58)
        _block(painted, hatch & (u > -0.55) & (u < 0.72), between(rng, 60, 190))
    elif ship.kind == "tanker":
        _block(painted, (beam < 0.1) & (u < 0.8), 178)
        _block(painted, (np.abs(u - 0.08) < 0.05) & (beam < 0.75), 172)
    elif ship.kind == "ferry":
        _block(painted, (u > -0.86) & (u < 0.62) & (beam < 0.8), 206)
        _block(painted, (np.abs(u + 0.3) < 0.09) & (beam < 0.35), 90)
        _block(painted, (u > -0.7) & (u < 0.5) & (np.abs(beam - 0.62) < 0.08), 140)
    elif ship.kind == "barge":
        _block(painted, (np.abs(u) < 0.85) & (beam < 0.72), between(rng, 50, 170))
        return
    at = -0.72 if rng.random() < 0.8 else between(rng, -0.2, 0.6)
    deep = between(rng, 0.08, 0.16)
    _block(painted, (np.abs(u - np.float32(at + 1.5 * deep)) < 0.6 * deep) & (beam < 0.8), 48)
    _block(painted, (np.abs(u - np.float32(at)) < deep) & (beam < 0.82), between(rng, 195, 240))
    _block(painted, (np.abs(u - np.float32(at - 0.4 * deep)) < 0.35 * deep) & (beam < 0.25), 80)


def _block(painted: np.ndarray, where: np.ndarray, grey: float) -> None:
    painted[:, where] = np.float32(grey)


def draw_wake(
    rng: np.random.Generator,
    scene: np.ndarray,
    inland: np.ndarray | None,
    ship: Ship,
    light: float,
) -> None:
    """Draw the wake of a moving ship: churned water astern and the two arms of its waves.

    Args:
        rng: Source of its looks.
        scene: Float32 (3, H, W), changed in place.
        inland: About px from the shore, (H, W), negative on the water; None: no land.
        ship: Its place, size and speed.
        light: Brightness of what the sun lights; 1 is usual.
    """
    if not ship.wake:
        return
    reach = ship.wake * ship.length_px
    shape_hw = scene.shape[1], scene.shape[2]
    box = window(ship, reach, shape_hw)
    if box[0].start >= box[0].stop or box[1].start >= box[1].stop:
        return
    size = box[0].stop - box[0].start, box[1].stop - box[1].start
    along, across = turned(size, ship.angle, (ship.y - box[0].start, ship.x - box[1].start))
    hull = (ship.length_px - ship.loose_px) / 2
    astern = -along - np.float32(hull * 0.92)
    fade = np.clip(1 - astern * np.float32(1 / reach), 0, 1) * (astern > 0)
    beam = np.abs(across)
    churned = np.float32(0.38 * ship.width_px) + astern * np.float32(between(rng, 0.0, 0.05))
    trail = np.clip(1.3 - beam / np.maximum(churned, 0.5), 0, 1) * fade * fade
    from_bow = np.float32(hull) - along
    arm = np.abs(
        beam - from_bow * np.float32(between(rng, 0.17, 0.3)) - np.float32(0.1 * ship.width_px)
    )
    arms = np.clip(1 - arm * np.float32(1 / (1.2 + 0.08 * ship.width_px)), 0, 1)
    arms *= np.clip(1 - from_bow * np.float32(1 / (reach * 0.8 + 2 * hull)), 0, 1) * (from_bow > 0)
    foam = noise(rng, size, 4.0, 2.0) * 0.5 + 0.75
    strength = between(rng, 25, 95) * (0.5 + 0.5 * light)
    added = (trail + arms * np.float32(between(rng, 0.05, 0.5))) * foam * np.float32(strength)
    if inland is not None:
        added *= np.clip(-inland[box], 0, 1)
    scene[:, box[0], box[1]] += added
