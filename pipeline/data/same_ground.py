"""Whether two tiles show the same ground at an offset, judged by all the pixels that they share.

Two tiles, a symmetry and an approximate offset enter; the exact offset leaves if they do. What they
share is aligned to a fraction of a pixel and seen in three bands, blind to brightness, contrast and
edges along the axes, as borders have. Block by block the bands must agree as far as JPEG's rounding
lets them: a coast in common does not make up for water that differs. What repeats within the shared
area proves nothing and is taken out.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.data.landmarks import shrinkage, turned

Gray = npt.NDArray[np.float32]
Offset = tuple[int, int]

MAX_SIDE_PX = 640  # a tile twice as large is halved
BANDS = (0.7, 1), (1.4, 2), (2.8, 4)  # deviation of a Gaussian, and px between differences
BLOCK_PX = 16
MIN_SHARE = 0.2  # of a tile's area; a quarter is found, if its offset is known but for rounding
MIN_SIDE_PX = 24
SOLID_BELOW = 0.6  # grey levels, deviation; flat water with noise of 0.4 reaches 0.55
MIN_LIKENESS = 0.4  # correlation; true pairs reach 0.55, nine tenths of the others 0.38
TELLING = 0.5  # the correlation that JPEG's rounding leaves, at least, where a block says anything
MIN_RATIO = 0.8  # of that correlation, on average; true pairs reach 0.88, false ones 0.63
MIN_AGREEING = 0.85  # of what blocks say, where true pairs reach 0.91 and false ones 0.67
MIN_EVIDENCE = 60.0  # nats, at most so many from one block, so that one ship alone is no proof:
MAX_OF_BLOCK = 3.0
REPEATS = 0.8  # correlation of an area with itself elsewhere
NEAR_PX = 10  # is no elsewhere


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        gray_hw: Luminance, uint8.
        table: Luminance quantisation table of its file, (8, 8); zeros if it has none.
    """

    gray_hw: npt.NDArray[np.uint8]
    table: npt.NDArray[np.uint16]

    @cached_property
    def factor(self) -> int:
        """How many px make one of what is compared."""
        return max(int(min(self.gray_hw.shape)) // (MAX_SIDE_PX // 2), 1)

    @cached_property
    def evened(self) -> Gray:
        """What `_evened` makes of the shrunk tile."""
        return _evened(_shrunk(self.gray_hw, self.factor))

    @cached_property
    def repeats(self) -> bool:
        """Whether all of it is a texture that repeats, and so fits at many offsets."""
        return _repeat(_mixed(_shrunk(self.gray_hw, self.factor), BANDS[1]))[0] >= REPEATS


def shared_ground(one: Tile, other: Tile, turn: int, offset_yx: Offset) -> Offset | None:
    """Return where the turned other tile lies on the first if both show the same ground there.

    Args:
        one: A tile.
        other: Another one of the same size.
        turn: What to do to it, as `landmarks.turned` has it.
        offset_yx: About where its corner lies then, px of the first.
    """
    factor, whole = one.factor, one.gray_hw
    about = round(offset_yx[0] / factor), round(offset_yx[1] / factor)
    reach = -(-2 * (shrinkage(*whole.shape) + 1) // factor)
    a, b = _windows(one.evened, turned(other.evened, turn), about)
    if min(a.shape) < MIN_SIDE_PX // factor or a.size * factor**2 < MIN_SHARE * whole.size:
        return None
    shift, likeness = _shift(a, b, reach)
    if likeness < MIN_LIKENESS or one.repeats:
        return None
    y, x = np.rint((about + shift) * factor).astype(int).tolist()
    windows = _windows(whole, turned(other.gray_hw, turn), (y, x))
    a, b = (_shrunk(window, factor) for window in windows)
    if min(a.shape) < MIN_SIDE_PX // factor:
        return None
    shift, _ = _shift(_evened(a), _evened(b), 1)
    move = np.array([[1, 0, -shift[1]], [0, 1, -shift[0]]])
    how = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    b = cv2.warpAffine(b, move, b.shape[::-1], flags=how, borderMode=cv2.BORDER_REFLECT_101)
    tables = one.table, other.table.T if turn & 4 else other.table
    noise = [_noise(table.tobytes(), factor) for table in tables]
    same = _agree(a, b, noise) and (
        (rest := _without_repeats(a, b)) is None or _agree(*rest, [2 * each for each in noise])
    )
    return (y, x) if same else None


def _windows(
    one: npt.NDArray[Any], other: npt.NDArray[Any], offset_yx: Offset
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Cut out what two tiles share, the corner of the other being at `offset_yx` of the first."""
    y, x = offset_yx
    a = one[max(y, 0) : max(y + other.shape[0], 0), max(x, 0) : max(x + other.shape[1], 0)]
    b = other[max(-y, 0) :, max(-x, 0) :][: a.shape[0], : a.shape[1]]
    return a, b


def _shrunk(image_hw: npt.NDArray[np.uint8], factor: int) -> Gray:
    height, width = (side // factor for side in image_hw.shape)
    if factor == 1 or not height * width:
        return image_hw.astype(np.float32)
    whole = image_hw[: height * factor, : width * factor].astype(np.float32)
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _shift(a: Gray, b: Gray, reach: int) -> tuple[npt.NDArray[np.float64], float]:
    """Return by how many px, down and right, b must be moved to fit a best, and how well it does.

    Args:
        a: An area, its mean near zero.
        b: Another one of the same shape.
        reach: Px, at most.
    """
    window = np.sqrt(cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F))
    shape = [cv2.getOptimalDFTSize(side + reach + 1) for side in a.shape]
    faded = [image * window for image in (a, b)]
    one, other = (np.fft.rfft2(image, shape) for image in faded)
    near = np.arange(-reach - 1, reach + 2)
    fit = np.fft.irfft2(one * np.conj(other), shape)[np.ix_(near, near)]
    y, x = np.unravel_index(fit[1:-1, 1:-1].argmax(), (2 * reach + 1,) * 2)
    around = fit[y : y + 3, x : x + 3]
    shift = np.array([y - reach + _vertex(around[:, 1]), x - reach + _vertex(around[1])])
    return shift, float(around[1, 1] / (np.linalg.norm(faded[0]) * np.linalg.norm(faded[1]) + 1e-6))


def _evened(image: Gray) -> Gray:
    """Return middle frequencies, everywhere equally strong, so that no edge outweighs the rest."""
    band = cv2.GaussianBlur(image, (0, 0), 1) - cv2.GaussianBlur(image, (0, 0), 4)
    return np.asarray(band / np.sqrt(cv2.GaussianBlur(band**2, (0, 0), 8) + 0.25), np.float32)


def _vertex(values: npt.NDArray[np.float64]) -> float:
    """Return where the parabola through three values, at -1, 0 and 1, is highest."""
    left, middle, right = values.tolist()
    bend = left - 2 * middle + right
    return float(np.clip((left - right) / 2 / bend, -0.5, 0.5)) if bend else 0.0


def _mixed(image: Gray, band: tuple[float, int]) -> Gray:
    """Difference down of the difference to the right: what has no edge along an axis is left."""
    deviation, apart = band
    smooth = cv2.GaussianBlur(image, (0, 0), deviation)
    down = smooth[2 * apart :] - smooth[: -2 * apart]
    return np.asarray(down[:, 2 * apart :] - down[:, : -2 * apart], np.float32)


@cache
def _noise(table: bytes, factor: int) -> npt.NDArray[np.float64]:
    """Variance that JPEG's rounding, and that to whole grey levels, gives each band at most."""
    steps = np.frombuffer(table, np.uint16).reshape(8, 8).astype(np.float64)
    frequency = np.arange(8) / 16 * factor
    variances = []
    for deviation, apart in BANDS:
        passed = np.exp(-2 * (np.pi * deviation * frequency) ** 2) * np.sinc(frequency)
        passed *= 2 * np.sin(2 * np.pi * frequency * apart)
        variances.append(((steps**2 + 1) / 12 * np.outer(passed, passed) ** 2).mean())
    return np.array(variances)


def _without_repeats(a: Gray, b: Gray) -> tuple[Gray, Gray] | None:
    """Subtract from both what a repeats elsewhere, which doubles their noise; None if nothing."""
    likeness, place = _repeat(_mixed(a, BANDS[1]))
    if likeness < REPEATS:
        return None
    first, second = (np.subtract(*_windows(image, image, place)) for image in (a, b))
    return first, second


def _repeat(band: Gray) -> tuple[float, Offset]:
    """Return how much an area is like itself elsewhere, and where, down and right."""
    band = band / np.sqrt(cv2.GaussianBlur(band**2, (0, 0), 8) + 0.05)
    shape = [cv2.getOptimalDFTSize(2 * side) for side in band.shape]
    sums, counts = (
        np.fft.irfft2(np.abs(np.fft.rfft2(image, shape)) ** 2, shape)
        for image in (band, np.ones_like(band))
    )
    down, right = (np.rint(np.fft.fftfreq(side) * side) for side in shape)
    far = (np.abs(down)[:, None] > NEAR_PX) | (np.abs(right) > NEAR_PX)
    likeness = np.where(far & (counts >= 0.2 * band.size), sums / np.maximum(counts, 1), 0)
    y, x = np.unravel_index(likeness.argmax(), likeness.shape)
    place = int(down[y]), int(right[x])
    return float(likeness[y, x] / (sums[0, 0] / counts[0, 0] + 1e-6)), place


def _agree(a: Gray, b: Gray, noise: list[npt.NDArray[np.float64]]) -> bool:
    """Tell whether two aligned areas agree, up to noise of these variances in each band."""
    weights, ratios, evidence = [np.zeros(0)], [np.zeros(0)], 0.0
    for number, band in enumerate(BANDS):
        if min(a.shape) < BLOCK_PX + 2 * band[1]:
            break
        blocks = [_blocks(_mixed(image, band)) for image in (a, b)]
        energies = [(each**2).mean(axis=1) for each in blocks]
        left = [
            np.clip(1 - of_band[number] / np.maximum(energy, 1e-6), 0, 1)
            for energy, of_band in zip(energies, noise, strict=True)
        ]
        possible = np.sqrt(left[0] * left[1])
        product = blocks[0] * blocks[1]
        found = product.mean(axis=1) / np.sqrt(energies[0] * energies[1] + 1e-9)
        # One bright corner is one witness, however many pixels it has.
        size = np.abs(product)
        witnesses = size.sum(axis=1) ** 2 / ((size**2).sum(axis=1) + 1e-9) / (2 * band[1]) ** 2
        apart = slice(band[1], -band[1])
        contrast = [_blocks(image[apart, apart]).std(axis=1) for image in (a, b)]
        telling = (possible > TELLING) & (np.minimum(*contrast) > SOLID_BELOW)
        said = -np.log1p(-(np.minimum(possible, 0.99) ** 2)) * witnesses
        weights.append(said[telling])
        ratios.append((found / np.maximum(possible, TELLING))[telling])
        agreed = -np.log1p(-(np.clip(found, 0, 0.999) ** 2)) / 2 * witnesses
        evidence += float(np.minimum(agreed, MAX_OF_BLOCK)[telling].sum())
    weight, ratio = np.concatenate(weights), np.concatenate(ratios)
    return bool(
        evidence >= MIN_EVIDENCE
        and (weight * ratio).sum() >= MIN_RATIO * weight.sum()
        and (weight * (ratio > 0.5)).sum() >= MIN_AGREEING * weight.sum()
    )


def _blocks(image: Gray) -> Gray:
    """Cut an area into blocks, (n, px); what is left at the far sides is left out."""
    down, across = (side // BLOCK_PX for side in image.shape)
    whole = image[: down * BLOCK_PX, : across * BLOCK_PX]
    blocks = whole.reshape(down, BLOCK_PX, across, BLOCK_PX).transpose(0, 2, 1, 3)
    return np.asarray(blocks.reshape(down * across, -1), np.float32)
