"""How every plot of a page looks, and its way into the page.

A function that draws on matplotlib axes enters; an SVG leaves whose colours are the page's own CSS
variables, so that one drawing serves light and dark, and whose text is text. Figures are drawn as
wide as a phone, so that their labels can be read there; wider screens show several side by side.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that stand for CSS variables; none of them is ever shown.
INK, MUTED, GRID, CARD, FILL = "#000101", "#000102", "#000103", "#000104", "#000105"
SERIES = ("#000301", "#000302", "#000303", "#000304", "#000305", "#000306", "#000307")
MARKERS = "osD^vP*"
"""Markers that go with `SERIES`: colour is never the only difference."""

VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    CARD: "card",
    FILL: "fill",
    **{colour: f"c{number}" for number, colour in enumerate(SERIES)},
}
WIDTH_PT = 350
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 11.5,
    "axes.labelsize": 11,
    "legend.fontsize": 10.5,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Drawing:
    """One plot in a page: what it shows, in words for those who do not see it, and the SVG."""

    title: str
    text: str
    svg: str


def draw(title: str, text: str, plot: Callable[[Axes], None], *, height_pt: int = 230) -> Drawing:
    """Draw a plot.

    Args:
        title: Its heading in the page.
        text: What it shows, as alternative text.
        plot: Draws on the axes it is given.
        height_pt: Height; all plots are as wide as a phone.
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are a list of literals
        figure = Figure(figsize=(WIDTH_PT / 72, height_pt / 72), layout="constrained")
        axes = figure.subplots()
        axes.tick_params(length=0)
        plot(axes)
        memory = io.StringIO()
        figure.savefig(memory, format="svg", metadata={"Date": None, "Creator": None})
    title = title[:1].upper() + title[1:]
    return Drawing(title, text, _for_page(memory.getvalue(), title, text))


def _for_page(svg: str, title: str, text: str) -> str:
    """Strip what a page does not need, name the colours, and keep the ids apart."""
    body = svg[svg.index("<svg") :].partition(">")[2]
    box = re.search(r'viewBox="[^"]*"', svg)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r"#0{3}[0-9a-f]{3}\b", lambda found: f"var(--{VARIABLES[found[0]]})", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", body)
    prefix = re.sub(r"\W+", "-", title.lower())
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    label = escape(f"{title}: {text}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" {box[0] if box else ""} '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
    )
