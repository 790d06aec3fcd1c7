"""The plots with one quantity, drawn as dots or bars: numbers enter, a `Drawing` leaves."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures import (
    CARD,
    FILL,
    GRID,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    draw,
)

HATCHES = (None, "//", "..", "xx")
MOST_NUMBERS = 12
"""Bars that have room for their number."""


def scale(
    title: str,
    scores: Mapping[str, tuple[float, float | None]],
    marks: Mapping[str, float],
    nothing: float,
    x: str,
) -> Drawing:
    """Lay scores on one scale.

    Args:
        title: Heading.
        scores: This run's scores by name, each with its standard error if there is one.
        marks: Scores to compare with, by name.
        nothing: The score of the answer that no image holds an object.
        x: Label of the scale.
    """
    rows = {**scores, **{name: (score, None) for name, score in marks.items()}}

    def plot(axes: Axes) -> None:
        for row, (name, (score, error)) in enumerate(rows.items()):
            own = name in scores
            colour = SERIES[0] if own else MUTED
            axes.errorbar(
                *(score, row),
                xerr=error,
                fmt="o" if own else "D",
                ms=9 if own else 5,
                color=colour,
                capsize=4,
            )
            gap = (0, 9) if error is not None else (9, 0)
            axes.annotate(
                f"{score:.3f}",
                (score, row),
                gap,
                textcoords="offset points",
                ha="center" if error is not None else "left",
                va="bottom" if error is not None else "center",
            )
        axes.axvline(
            nothing, color=SERIES[1], ls="--", lw=1.5, label=f"all-empty answer {nothing:.3f}"
        )
        _name_rows(axes, rows, top=-1.0, below=0.6, margin=0.16)
        axes.set_xlabel(x)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(loc="lower left")

    said = [f"{name} {score:.3f}" for name, (score, _) in rows.items()]
    said.append(f"all-empty answer {nothing:.3f}")
    return draw(title, ", ".join(said), plot, height_pt=80 + 24 * len(rows))


def lost_points(title: str, lost: Mapping[str, float], x: str) -> Drawing:
    """Draw how much of a score each cause takes, the largest first."""
    ordered = sorted(lost.items(), key=lambda item: -item[1])

    def plot(axes: Axes) -> None:
        for row, (name, value) in enumerate(ordered):
            axes.barh(row, value, height=0.42, color=SERIES[1], alpha=1 if row == 0 else 0.65)
            axes.text(0, row - 0.34, name, ha="left", va="bottom")
            axes.text(value, row, f" {value:.3f}", va="center", color=MUTED)
        axes.set_ylim(len(ordered) - 0.6, -0.95)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, max(max(lost.values()) * 1.14, 1e-3))
        axes.set_xlabel(x)
        axes.grid(axis="y", visible=False)

    said = ", ".join(f"{name} {value:.3f}" for name, value in ordered)
    return draw(title, said, plot, height_pt=46 + 44 * len(ordered))


def gains(title: str, rules: Mapping[str, tuple[float, float | None]], x: str) -> Drawing:
    """Draw what each rule adds to a score, with the standard error of that."""

    def plot(axes: Axes) -> None:
        for row, (name, (gain, error)) in enumerate(rules.items()):
            axes.barh(row, gain, 0.42, color=SERIES[0] if gain > (error or 0) else MUTED)
            if error is not None:
                axes.errorbar(gain, row, xerr=error, color=INK, capsize=4, lw=1.4)
            axes.annotate(
                f"{name}: {gain:+.4f}", (0, row - 0.3), (3, 0), textcoords="offset points"
            )
        axes.axvline(0, color=MUTED, lw=1)
        axes.set_ylim(len(rules) - 0.5, -0.9)
        axes.set_yticks([])
        axes.set_xlabel(x)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.2)

    said = ", ".join(f"{name} {gain:+.4f}" for name, (gain, _) in rules.items())
    return draw(title, said, plot, height_pt=70 + 42 * len(rules))


def bars(
    title: str,
    counts: Mapping[str, int],
    groups: Mapping[str, Sequence[float | None]],
    x: str,
    y: str,
) -> Drawing:
    """Draw bars of a score by bin, one colour per group.

    Args:
        title: Heading.
        counts: How many there are of what is scored, by the bin's name; an empty bin is not shown.
        groups: The score of each bin, by the group's name; None gets no bar.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
    """
    shown = [place for place, count in enumerate(counts.values()) if count]
    names = [f"{name}\n{count:,}" for name, count in counts.items() if count]
    width = 0.8 / len(groups)

    def plot(axes: Axes) -> None:
        for number, (group, values) in enumerate(groups.items()):
            shift = (number - (len(groups) - 1) / 2) * width
            had = [(at + shift, h) for at, p in enumerate(shown) if (h := values[p]) is not None]
            colour, hatch = SERIES[number % len(SERIES)], HATCHES[number % len(HATCHES)]
            places, heights = zip(*had, strict=True) if had else ((), ())
            axes.bar(places, heights, width * 0.9, color=colour, label=group, hatch=hatch, ec=GRID)
            for place, height in had if len(groups) * len(shown) <= MOST_NUMBERS else ():
                axes.annotate(
                    f"{height:.2f}",
                    (place, height),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9.5,
                )
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(0, 1.08)
        axes.grid(axis="x", visible=False)
        if len(groups) > 1:
            _legend_below(axes, 3)

    said = "; ".join(
        f"{group}: "
        + ", ".join(
            f"{name} {'none' if value is None else f'{value:.2f}'}"
            for (name, count), value in zip(counts.items(), values, strict=True)
            if count
        )
        for group, values in groups.items()
    )
    return draw(title, said, plot)


def fold_spread(title: str, rows: Mapping[str, Mapping[str, float | None]], score: str) -> Drawing:
    """Draw each fold's score as a dot, and the mean with its standard deviation as a band.

    Args:
        title: Heading.
        rows: Scores by fold, for each row of the plot; what has no score is left out.
        score: The metric's name.
    """
    values = {
        name: {fold: score for fold, score in scores.items() if score is not None}
        for name, scores in rows.items()
        if any(score is not None for score in scores.values())
    }
    folds = list(dict.fromkeys(fold for scores in values.values() for fold in scores))

    def plot(axes: Axes) -> None:
        for row, scores in enumerate(values.values()):
            mean = np.mean(list(scores.values()))
            spread = np.std(list(scores.values()), ddof=1) if len(scores) > 1 else 0.0
            axes.barh(row, 2 * spread, 0.5, mean - spread, color=FILL)
            axes.plot([mean, mean], [row - 0.25, row + 0.25], color=INK, lw=1.5)
            axes.annotate(f"{mean:.3f} ± {spread:.3f}", (mean, row - 0.3), ha="center", va="bottom")
        for number, fold in enumerate(folds):
            points = [
                (scores[fold], row) for row, scores in enumerate(values.values()) if fold in scores
            ]
            style = number % len(SERIES)
            axes.plot(
                *zip(*points, strict=True),
                MARKERS[style],
                color=SERIES[style],
                ms=7,
                label=f"fold {fold}",
            )
        _name_rows(axes, values, top=-0.75, below=0.5, margin=0.15)
        axes.set_xlabel(f"{score}; band: mean ± standard deviation")
        _legend_below(axes, 4)

    said = "; ".join(
        f"{name}: " + ", ".join(f"fold {fold} {score:.3f}" for fold, score in scores.items())
        for name, scores in values.items()
    )
    return draw(title, said, plot, height_pt=140 + 37 * len(values))


def shares(
    title: str, rows: Sequence[str], parts: Mapping[str, Sequence[float]], x: str
) -> Drawing:
    """Draw one bar per row, cut into parts, each with its number where there is room."""
    whole = np.sum([np.asarray(values, float) for values in parts.values()], axis=0)

    def plot(axes: Axes) -> None:
        start = np.zeros(len(rows))
        for number, (name, values) in enumerate(parts.items()):
            widths = np.asarray(values, float)
            axes.barh(
                rows, widths, 0.62, start, color=SERIES[number], label=name, ec=GRID, alpha=0.85
            )
            for row, width in enumerate(widths):
                if width > 0.12 * whole.max():
                    axes.text(
                        start[row] + width / 2,
                        row,
                        f"{width:,.3g}",
                        ha="center",
                        va="center",
                        color=CARD,
                        fontsize=10,
                    )
            start += widths
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlabel(x)
        axes.grid(axis="y", visible=False)
        if any(parts):
            _legend_below(axes, 2)

    said = "; ".join(
        f"{row}: " + ", ".join(f"{name} {values[index]:,.3g}" for name, values in parts.items())
        for index, row in enumerate(rows)
    )
    return draw(title, said, plot, height_pt=100 + 26 * len(rows))


def _name_rows(
    axes: Axes, names: Collection[str], *, top: float, below: float, margin: float
) -> None:
    """Lay rows from the top down, from `top` to `below` under the last; `margin` at both sides."""
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(names) - 1 + below, top)
    axes.grid(axis="y", visible=False)
    axes.margins(x=margin)


def _legend_below(axes: Axes, columns: int) -> None:
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.legend(loc="outside lower center", ncols=columns)
