"""The plots with two quantities, drawn as lines or points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures import INK, MARKERS, MUTED, SERIES, Drawing, draw

EPOCH = "epoch"


@dataclass(frozen=True)
class Curve:
    """One line of a plot, or its points; `style` is its place in `SERIES` and `MARKERS`."""

    label: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    style: int = 0
    dashed: bool = False
    points: bool = False


def curves(
    title: str,
    lines: Sequence[Curve],
    x: str,
    y: str,
    *,
    said: str,
    marks: Sequence[tuple[float, float, str]] = (),
    zero: bool = False,
    at: Sequence[float] = (),
    equal: bool = False,
    log: bool = False,
) -> Drawing:
    """Draw lines over a quantity.

    Args:
        title: Heading.
        lines: What to draw; a line of a single point gets a marker.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
        said: What they show, as alternative text.
        marks: Points (x, y, words) to point out.
        zero: Whether the vertical axis goes from 0 to 1.
        at: Places of vertical lines, where one thing ends and the next begins.
        equal: Whether to draw where both quantities are equal.
        log: Whether both axes are logarithmic.
    """

    def plot(axes: Axes) -> None:
        for line in lines:
            style = line.style % len(SERIES)
            axes.plot(
                *(line.x, line.y),
                ls="" if line.points else "--" if line.dashed else "-",
                color=SERIES[style],
                marker=MARKERS[style] if line.points or np.size(line.x) < 30 else None,
                label=line.label,
            )
        if zero:
            axes.set_ylim(-0.02, 1.02)
        if log:
            axes.loglog()
        if equal:
            _draw_equal(axes)
        for place in at:
            axes.axvline(place, color=MUTED, lw=1, ls=":")
        for place, height, words in marks:
            axes.plot(place, height, "D", color=INK, ms=7, label=words)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if x == EPOCH:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_xlim(
                min(np.min(line.x) for line in lines) - 0.4,
                max(np.max(line.x) for line in lines) + 0.4,
            )
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="best")

    return draw(title, said, plot)


def _draw_equal(axes: Axes) -> None:
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    both = [min(ends), max(ends)]
    axes.plot(both, both, color=MUTED, lw=1, ls=":", label="equal")
