"""The plots with two quantities: lines over one, and points of two."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.kaggle.ledger import LedgerRow
from pipeline.report.figures import INK, MARKERS, MUTED, SERIES, Drawing, draw

EPOCH = "epoch"


@dataclass(frozen=True)
class Curve:
    """One line of a plot; `style` is its place in `SERIES` and `MARKERS`."""

    label: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    style: int = 0
    dashed: bool = False


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
    """

    def plot(axes: Axes) -> None:
        for line in lines:
            style = line.style % len(SERIES)
            axes.plot(
                *(line.x, line.y, "--" if line.dashed else "-"),
                color=SERIES[style],
                marker=MARKERS[style] if np.size(line.x) < 30 else None,
                label=line.label,
            )
        for place in at:
            axes.axvline(place, color=MUTED, lw=1, ls=":")
        for place, height, words in marks:
            axes.plot(place, height, "D", color=INK, ms=7, label=words)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if zero:
            axes.set_ylim(-0.02, 1.02)
        if x == EPOCH:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_xlim(
                min(np.min(line.x) for line in lines) - 0.4,
                max(np.max(line.x) for line in lines) + 0.4,
            )
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="best")

    return draw(title, said, plot)


def submissions(title: str, rows: Sequence[LedgerRow]) -> Drawing:
    """Draw the public and private score of earlier submissions over their out-of-fold F2."""
    scores = {
        "private": [
            (row.oof_f2, row.private_score) for row in rows if row.private_score is not None
        ],
        "public": [(row.oof_f2, row.public_score) for row in rows if row.public_score is not None],
    }

    def plot(axes: Axes) -> None:
        for style, (kind, points) in enumerate(scores.items()):
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, MARKERS[style], color=SERIES[style], ms=7, label=f"{kind} score")
        low = min(axes.get_xlim()[0], axes.get_ylim()[0])
        high = max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=":", label="equal")
        axes.set_xlabel("out-of-fold F2")
        axes.set_ylabel("score at Kaggle")
        axes.legend(loc="best")

    said = "; ".join(
        f"{row.run}: out-of-fold {row.oof_f2}, public {row.public_score}, private "
        f"{row.private_score}"
        for row in rows
    )
    return draw(title, said, plot)
