"""Blobs in noise: what stands in for a competition's objects, of any size and number of classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.competitions import StandIn
from pipeline.data.rendering.fields import TURN, between, grain, noise, turned

GROUND, CONTRAST = 110, 60  # grey levels
FAINTEST = 0.3  # of that contrast; fainter than the ground, so that not all is found
STRIPE_PX = 4
TRIES = 20  # to find a free place


@dataclass(frozen=True)
class Blob:
    """One object: its class, its window of the image, and its pixels in it, bool."""

    class_index: int
    window: tuple[slice, slice]
    pixels_hw: npt.NDArray[np.bool_]


def draw_blobs(
    rng: np.random.Generator, look: StandIn, classes: int, *, empty: bool, overlaps: bool
) -> tuple[npt.NDArray[np.uint8], list[Blob]]:
    """Draw an image.

    Args:
        rng: Source of all of it.
        look: Size of the image and of its objects.
        classes: Number of classes; four of them differ in their looks.
        empty: Whether it has no object.
        overlaps: Whether objects may cover parts of others.

    Returns:
        uint8 (h, w), and the objects, those that are drawn over others behind them.
    """
    side = min(look.shape)
    grey_hw = GROUND + 18 * noise(rng, look.shape, side / 5, side / 12) + 8 * grain(rng, look.shape)
    taken_hw = np.zeros(look.shape, bool)
    blobs: list[Blob] = []
    only = int(rng.integers(classes)) if look.one_class else None
    for _ in range(0 if empty else int(rng.integers(1, look.most + 1))):
        class_index = int(rng.integers(classes)) if only is None else only
        for _ in range(TRIES):
            blob = _blob(rng, look, class_index)
            covered = taken_hw[blob.window][blob.pixels_hw]
            if covered.size and (not covered.any() or (overlaps and covered.mean() < 0.2)):
                strength = np.float32(between(rng, FAINTEST, 1))
                grey_hw[blob.window] += strength * blob.pixels_hw * _texture(rng, blob)
                taken_hw[blob.window] |= blob.pixels_hw
                blobs.append(blob)
                break
    return np.rint(grey_hw.clip(0, 255)).astype(np.uint8), blobs


def _blob(rng: np.random.Generator, look: StandIn, class_index: int) -> Blob:
    """Draw an ellipse with a wavy outline anywhere, its centre in the image."""
    height, width = look.shape
    long_px = between(rng, *look.sizes) * min(look.shape)
    short_px = long_px * between(rng, 0.4, 1.0)
    centre = int(rng.integers(height)), int(rng.integers(width))
    reach = int(1.4 * long_px) + 1
    low = [max(at - reach, 0) for at in centre]
    high = [min(at + reach + 1, size) for at, size in zip(centre, look.shape, strict=True)]
    shape = (high[0] - low[0], high[1] - low[1])
    middle = (float(centre[0] - low[0]), float(centre[1] - low[1]))
    along, across = turned(shape, int(rng.integers(TURN)), middle)
    distance = (along / np.float32(long_px)) ** 2 + (across / np.float32(short_px)) ** 2
    pixels_hw = distance < 1 + np.float32(0.3) * noise(rng, shape, max(long_px, 4))
    return Blob(class_index, (slice(low[0], high[0]), slice(low[1], high[1])), pixels_hw)


def _texture(rng: np.random.Generator, blob: Blob) -> npt.NDArray[np.float32]:
    """Return what a class adds to the ground: light, dark, stripes or speckles."""
    shape = blob.pixels_hw.shape
    kind = blob.class_index % 4
    if kind < 2:
        return np.full(shape, CONTRAST if kind == 0 else -CONTRAST, np.float32)
    if kind == 2:
        rows = np.arange(shape[0])[:, None] + np.arange(shape[1])
        return np.where(rows // STRIPE_PX % 2, CONTRAST, -CONTRAST).astype(np.float32)
    return CONTRAST * grain(rng, shape)
