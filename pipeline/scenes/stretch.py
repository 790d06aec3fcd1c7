"""How a raster's values become 0..255, as networks see them: the same way in the whole scene."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError, DataError

Sample = Callable[[], npt.NDArray[Any]]
"""Valid values of the whole scene, (bands, n); reading them takes time."""
FORMS = "none, minmax:LOW,HIGH, percentile:LOW,HIGH or gain:GAIN,OFFSET"


@dataclass(frozen=True)
class Stretch:
    """What `--stretch` says.

    Attributes:
        kind: none, values are levels already; minmax, of values; percentile, of the valid values
            of each band in the whole scene; gain, the level is (value + offset) * gain.
        numbers: The two that follow.
    """

    kind: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.kind + ":" * bool(self.numbers) + ",".join(map(_shortest, self.numbers))


NONE = Stretch("none")
Limits = tuple[tuple[float, float], ...]
"""Of each band the value that becomes 0 and the one that becomes 255."""


def _shortest(number: float) -> str:
    short = f"{number:.10g}"
    return short if float(short) == number else repr(number)


def parse_stretch(text: str) -> Stretch:
    """Read `--stretch`.

    Raises:
        ConfigError: It is none of the forms, or its numbers make no sense.
    """
    kind, _, rest = text.partition(":")
    try:
        numbers = tuple(float(part) for part in rest.split(",")) if rest else ()
    except ValueError:
        numbers = (np.nan,)
    if text == "none":
        return NONE
    wrong = {
        "minmax": "expected two values, the lower first",
        "percentile": "expected two percentages from 0 to 100, the lower first",
        "gain": "expected a gain above 0, and an offset",
    }
    if kind not in wrong:
        raise ConfigError(f"--stretch: expected {FORMS}, got {text!r}.")
    first, last = numbers if len(numbers) == 2 else (np.nan, np.nan)
    right = first > 0 if kind == "gain" else first < last
    if kind == "percentile":
        right &= first >= 0 and last <= 100
    if not right or not np.isfinite([first, last]).all():
        raise ConfigError(f"--stretch: {wrong[kind]}, got {text!r}.")
    return Stretch(kind, numbers)


def find_limits(stretch: Stretch | None, dtype: str, bands: int, sample: Sample) -> Limits:
    """Return what becomes black and white in each band.

    Args:
        stretch: What the user says; None: nothing, which suffices for 8 bits.
        dtype: Of the values.
        bands: How many.
        sample: Is called where the values decide.

    Raises:
        DataError: More than 8 bits, and nothing is said; the message proposes what to say.
    """
    if stretch is None or stretch == NONE:
        if dtype == "uint8":
            return ((0.0, 255.0),) * bands
        values = sample()
        if not values.size:  # nothing is valid, so nothing is seen
            return ((0.0, 1.0),) * bands
        raise DataError(
            f"expected a --stretch that makes 0..255 of values of {dtype}, got "
            f"{'none' if stretch else 'nothing'}. Most of its values lie in --stretch "
            f"{_proposal(values)}; give it, or the one that the training images were made with: "
            f"{FORMS}."
        )
    first, last = stretch.numbers
    if stretch.kind == "percentile":
        return tuple(_percentiles(values, first, last) for values in sample())
    return ((first, last) if stretch.kind == "minmax" else (-last, 255 / first - last),) * bands


def _percentiles(values: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles, (0, 1) of nothing, and not twice the same of a constant."""
    if not values.size:
        return 0.0, 1.0
    black, white = np.percentile(values, [low, high]).tolist()
    return black, white if white > black else max(black + 1, float(np.nextafter(black, np.inf)))


def _proposal(values: npt.NDArray[Any]) -> Stretch:
    """Return a stretch for all bands alike, which keeps colours as they are."""
    limits = [_percentiles(band, 2, 98) for band in values]
    black, white = min(low for low, _ in limits), max(high for _, high in limits)
    spread = white - black
    digits = 3 - math.floor(math.log10(spread)) if 0 < spread < np.inf else 0
    return Stretch("minmax", (round(black, digits), round(white, digits)))


def to_levels(values: npt.NDArray[Any], black: float, white: float) -> npt.NDArray[np.uint8]:
    """Return values of a band as levels 0..255, in proportion, rounded, and cut off beyond."""
    levels = (values.astype(np.float64) - black) * 255 / (white - black)
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
