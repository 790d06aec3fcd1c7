"""Salient places of a tile, described so that another tile that shows them gives the same codes.

A tile's luminance enters; up to `LANDMARKS` places leave, each with codes that do not depend on
brightness, contrast, quarter turns and mirroring, and hardly on JPEG and fractions of a pixel. A
place is where a band of middle frequencies is largest around, and no edge, so that it lies at the
same spot of the ground wherever the tile was cut; and a quarter of a tile holds several.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.seeds import generator

LANDMARKS = 48
UNSHRUNK_PX = 36  # a larger tile is shrunk by the root of how many times as large it is
BAND = 1.0, 2.0  # deviations, px, of the two Gaussians whose difference is looked at
SAMPLES = 7  # across a landmark
SPACING_PX = 2
REACH_PX = SPACING_PX * (SAMPLES // 2)
MIN_CONTRAST = 0.1  # grey levels in the band
LONGEST = 4  # times as sharply as along it may a landmark bend across
DIRECTIONS = 32  # in which landmarks differ
CODES = 12  # of a landmark, each the strongest of so many directions and their opposites
VIEWS = 2  # of a landmark: in its likeliest orientation and the next
NONE = 255  # the code of no landmark

Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int16]


def shrinkage(height: int, width: int) -> int:
    """Return how many px of a tile make one of what is described."""
    return max(int(np.sqrt(min(height, width) / UNSHRUNK_PX)), 1)


def turned(image_hw: npt.NDArray[Any], turn: int) -> npt.NDArray[Any]:
    """Apply one of the eight symmetries: bit 0 flips rows, 1 columns, then bit 2 transposes."""
    flipped = image_hw[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
    return flipped.T if turn & 4 else flipped


def as_mirror_and_turns(turn: int) -> tuple[int, int]:
    """Return a turn as 1 for mirrored, left for right, and quarter turns counterclockwise after."""
    grid = np.arange(4).reshape(2, 2)
    return next(
        (mirrored, quarters)
        for mirrored in (0, 1)
        for quarters in range(4)
        if np.array_equal(np.rot90(grid[:, :: 1 - 2 * mirrored], quarters), turned(grid, turn))
    )


def between(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the turn that takes the second tile to the first, of turns that make them equal."""
    return _between()[one, other]


@cache
def _between() -> npt.NDArray[np.uint8]:
    grid = np.arange(4).reshape(2, 2)
    image = [turned(grid, turn).tobytes() for turn in range(8)]
    table = [
        [image.index(_inverse(turned(grid, other), one).tobytes()) for other in range(8)]
        for one in range(8)
    ]
    return np.array(table, np.uint8)


def _inverse(image_hw: npt.NDArray[Any], turn: int) -> npt.NDArray[Any]:
    plain = image_hw.T if turn & 4 else image_hw
    return plain[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]


def describe(gray_hw: npt.NDArray[np.uint8]) -> tuple[Codes, Places, Codes]:
    """Describe one tile.

    Args:
        gray_hw: Its luminance.

    Returns:
        Codes (LANDMARKS, VIEWS, CODES), each row NONE where there is no further landmark; places
        (LANDMARKS, 2), row and column in the shrunk tile; and turns (LANDMARKS, VIEWS): the
        symmetry that takes a landmark to the orientation that the codes are of.
    """
    codes = np.full((LANDMARKS, VIEWS, CODES), NONE, np.uint8)
    places = np.zeros((LANDMARKS, 2), np.int16)
    turns = np.zeros((LANDMARKS, VIEWS), np.uint8)
    band = _band(gray_hw)
    y, x = _salient(band)
    if len(y):
        at = SPACING_PX * (np.arange(SAMPLES) - SAMPLES // 2)
        around = ((at * band.shape[1])[:, None] + at).ravel()
        patches = band.ravel()[(y * band.shape[1] + x)[:, None] + around]
        views = _orientations(patches)
        seen = patches[np.arange(len(y))[:, None, None], _turns()[views]]
        codes[: len(y)] = _codes(seen.reshape(-1, SAMPLES**2)).reshape(len(y), VIEWS, CODES)
        places[: len(y)], turns[: len(y)] = np.stack([y, x], axis=1), views
    return codes, places, turns


def _band(gray_hw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    factor = shrinkage(*gray_hw.shape)
    image = gray_hw.astype(np.float32)
    if factor > 1:
        height, width = (side // factor for side in gray_hw.shape)
        whole = image[: height * factor, : width * factor]
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    fine = cv2.GaussianBlur(image, (7, 7), BAND[0])
    coarse = cv2.GaussianBlur(fine, (9, 9), np.sqrt(BAND[1] ** 2 - BAND[0] ** 2))
    return np.asarray(cv2.subtract(fine, coarse), np.float32)


def _salient(band: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the landmarks, the strongest first."""
    inner = slice(REACH_PX, -REACH_PX)
    size = np.abs(band)
    apart = max(min(band.shape) // 24, 2)
    window = np.ones((2 * apart + 1,) * 2, np.uint8)
    inside, largest = size[inner, inner], cv2.dilate(size, window)[inner, inner]
    at = np.flatnonzero((inside == largest) & (inside >= MIN_CONTRAST))
    if not at.size:
        return at, at
    y, x = np.divmod(at, inside.shape[1])
    at = np.flatnonzero(_round(band, y + REACH_PX, x + REACH_PX))
    strongest = at[np.argsort(-inside[y[at], x[at]], kind="stable")[:LANDMARKS]]
    return y[strongest] + REACH_PX, x[strongest] + REACH_PX


def _round(
    band: npt.NDArray[np.float32], y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Tell which places are no part of an edge, along which they might lie anywhere.

    Source: Lowe, Distinctive Image Features from Scale-Invariant Keypoints, 2004, section 4.1.
    """
    apart = SPACING_PX
    here = 2 * band[y, x]
    down = band[y - apart, x] + band[y + apart, x] - here
    right = band[y, x - apart] + band[y, x + apart] - here
    mixed = band[y - apart, x - apart] + band[y + apart, x + apart]
    mixed = (mixed - band[y - apart, x + apart] - band[y + apart, x - apart]) / 4
    product = down * right - mixed**2
    return np.asarray((down + right) ** 2 * LONGEST < product * (LONGEST + 1) ** 2)


@cache
def _turns() -> npt.NDArray[np.intp]:
    """Where each sample of a turned landmark is found in it, (8, samples)."""
    grid = np.arange(SAMPLES**2).reshape(SAMPLES, SAMPLES)
    return np.stack([turned(grid, turn).ravel() for turn in range(8)])


@cache
def _slopes() -> npt.NDArray[np.float32]:
    at = np.arange(SAMPLES) - SAMPLES // 2
    y, x = np.meshgrid(at, at, indexing="ij")
    weight = np.exp(-(y**2 + x**2) / (2 * 2.0**2))
    return np.stack([(y * weight).ravel(), (x * weight).ravel()], axis=1).astype(np.float32)


def _orientations(patches: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the turns after which a landmark rises downwards and, more so, to the right.

    The second turn differs from the first in that of three decisions that was nearest.
    """
    slopes = cv2.gemm(patches, _slopes(), 1, None, 0)
    down, right = slopes[:, 0], slopes[:, 1]
    steep = np.abs(down) > np.abs(right)
    first = (down < 0) + 2 * (right < 0) + 4 * steep
    margins = np.abs(np.stack([down, right, (np.abs(down) - np.abs(right)) / np.sqrt(2)], axis=1))
    second = first ^ (1 << margins.argmin(axis=1))
    return np.stack([first, second], axis=1).astype(np.uint8)


@cache
def _rotations() -> npt.NDArray[np.float32]:
    """CODES random rotations of what tells landmarks apart, (CODES, samples, DIRECTIONS).

    All are round peaks or hollows that rise as their orientation has it: that is projected out.
    What is left of a band of noise is far from equally strong in all directions. Those in which it
    is strongest are kept, and made equal.
    """
    at = np.arange(SAMPLES) - SAMPLES // 2
    squares = (at**2)[:, None] + at**2
    peaks = [np.exp(-squares / (2 * width**2)).ravel() for width in (0.7, 1.0, 1.5, 2.2, 4.0)]
    alike, _ = np.linalg.qr(np.stack([*peaks, *_slopes().T], axis=1))
    rest = np.eye(SAMPLES**2) - alike @ alike.T
    y, x = (SPACING_PX * each.ravel() for each in np.meshgrid(at, at, indexing="ij"))
    apart = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    fine, coarse = BAND
    together = sum(
        sign / width * np.exp(-apart / (2 * width))
        for sign, width in (
            (1, 2 * fine**2),
            (-2, fine**2 + coarse**2),
            (1, 2 * coarse**2),
        )
    )
    strength, directions = np.linalg.eigh(rest @ together @ rest)
    kept = directions[:, -DIRECTIONS:] / np.sqrt(strength[-DIRECTIONS:])
    random = generator(0, "landmark codes").standard_normal((CODES, DIRECTIONS, DIRECTIONS))
    return np.asarray(kept @ np.linalg.qr(random)[0], np.float32)


def _codes(patches: npt.NDArray[np.float32]) -> Codes:
    """Name the vertex of the cross-polytope that is nearest after each rotation, (n, CODES).

    Source: Andoni et al., Practical and Optimal LSH for Angular Distance, 2015.
    """
    # CODES products, each too small for numpy's library to start threads beside the workers'.
    rotated = patches @ _rotations()
    nearest = np.abs(rotated).argmax(axis=2)
    value = np.take_along_axis(rotated, nearest[:, :, None], axis=2)[:, :, 0]
    return np.asarray((2 * nearest + (value < 0)).T, np.uint8)
