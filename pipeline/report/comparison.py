"""Runs side by side: what was changed, what it gained and where, and the images it changed most.

The first run is what the others are measured against. A difference is taken image by image, so that
its standard error over scenes is that of the difference itself, not that of two scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import DataError
from pipeline.metrics.summaries import standard_error
from pipeline.report import charts
from pipeline.report.gallery import PER_GALLERY, Gallery, Layer, Tiles, show
from pipeline.report.judging import by_class, flatten
from pipeline.report.outcomes import outcomes_of
from pipeline.report.page import render, ships_of
from pipeline.report.panels import Panel, Table, attempt, build
from pipeline.report.records import Records

COLOURS = ("predicted", "other1", "other2", "other3")
SCORES = {
    "f2": "out-of-fold F2",
    "f2_standard_error": "its standard error over scenes",
    "f2_fold_deviation": "its standard deviation over folds",
    "f2_all_empty": "the all-empty answer",
    "f2_ship_images": "F2 of images with objects",
    "f2_empty_images": "F2 of empty images",
}


@dataclass(frozen=True)
class _Change:
    """What became of the images that the first run and another share, one row per image."""

    name: str
    images: pd.DataFrame


def compare(folders: Sequence[Path]) -> tuple[bytes, str]:
    """Compare runs, the first of which is the one to beat.

    Returns:
        The page, and the tables as text.
    """
    runs = [Records(folder) for folder in folders]
    names = [run.name for run in runs]
    changes, trouble = attempt(_changes, runs)
    gains = Panel("changes", "Image by image", problem=trouble)
    if changes is not None:
        gains = build("changes", "Image by image", _gains, names[0], changes)
    made = [
        build("config", "What differs", _config, runs),
        build("scores", "What they score", _scores, runs),
        gains,
        build("classes", "Where one wins", _classes, runs),
    ]
    page = render(
        "compare.html",
        title=f"{names[0]} against {' and '.join(names[1:])}",
        panels=made,
        gallery=None if changes is None else _gallery(runs, changes),
        problems=[text for run in runs for text in run.problems.values()],
    )
    return page, "\n\n".join(
        _text(panel) for panel in made if panel.tables or panel.lead or panel.problem
    )


def _text(panel: Panel) -> str:
    lines = [panel.title.upper(), panel.problem or panel.lead]
    for table in panel.tables:
        rows = [list(table.header), *table.rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return "\n".join(line for line in lines if line)


def _config(key: str, title: str, runs: Sequence[Records]) -> Panel:
    flat = [flatten(run.read("config.yaml")) for run in runs]
    keys = sorted(set().union(*flat) - {"name"})
    rows = [
        [name, *(each.get(name, "–") for each in flat)]
        for name in keys
        if len({each.get(name) for each in flat}) > 1
    ]
    if not rows:
        return Panel(key, title, "Nothing but the name.")
    return Panel(key, title, tables=[Table(["setting", *(run.name for run in runs)], rows)])


def _scores(key: str, title: str, runs: Sequence[Records]) -> Panel:
    scores = [run.read("calibrate/scores.json") for run in runs]
    rows = [
        [name, *("–" if each[field] is None else f"{each[field]:.4f}" for each in scores)]
        for field, name in SCORES.items()
    ]
    tested: list[dict[str, Any]] = [
        next((m["metrics"] for m in run.manifests() if "test_f2" in m["metrics"]), {})
        for run in runs
    ]
    if any(tested):
        row = [f"{each['test_f2']:.4f}" if each else "–" for each in tested]
        rows.append(["F2 of test images", *row])
    return Panel(key, title, tables=[Table(["score", *(run.name for run in runs)], rows)])


def _changes(runs: Sequence[Records]) -> list[_Change]:
    """Pair the images of the first run with those of each other run.

    Raises:
        DataError: The truth of a shared image differs, or no image is shared.
    """
    first, *others = (outcomes_of(run).images for run in runs)
    changes = []
    for run, other in zip(runs[1:], others, strict=True):
        both = first.merge(other, on="ImageId", suffixes=("", "_other"))
        if both.empty or (both.n_true != both.n_true_other).any():
            raise DataError(
                f"{runs[0].name} and {run.name} are of different images, or of different truths. "
                "Compare runs on the same data."
            )
        changes.append(_Change(run.name, both.assign(change=both.f2_other - both.f2)))
    return changes


def _gains(key: str, title: str, first: str, changes: Sequence[_Change]) -> Panel:
    """Say what each run gains on the first, with the spread of the difference itself."""
    rows = []
    for one in changes:
        images = one.images
        for name, chosen in (
            ("all images", images),
            ("with ships", images[images.n_true > 0]),
            ("empty", images[images.n_true == 0]),
        ):
            error = standard_error(chosen.change.to_numpy(), chosen.group.to_numpy())
            rows.append(
                [
                    *(f"{one.name} − {first}, {name}", f"{len(chosen):,}"),
                    f"{chosen.change.mean():+.4f}",
                    "–" if error is None else f"{error:.4f}",
                    *(f"{(chosen.change > 0).sum():,}", f"{(chosen.change < 0).sum():,}"),
                ]
            )
    header = ["difference of F2", "images", "mean", "standard error", "better", "worse"]
    lead = "A difference of less than two standard errors may be luck."
    return Panel(key, title, lead, tables=[Table(header, rows)])


def _classes(key: str, title: str, runs: Sequence[Records]) -> Panel:
    scores = {run.name: run.read("calibrate/scores.json") for run in runs}
    folds = {
        name: {fold: of_fold["f2"] for fold, of_fold in each["folds"].items()}
        for name, each in scores.items()
    }
    return Panel(key, title, drawings=[*by_class(scores), charts.fold_spread("F2 by fold", folds)])


def _gallery(runs: Sequence[Records], changes: Sequence[_Change]) -> dict[str, Any] | None:
    """Show the images that each other run does better and worse than the first, if any."""
    galleries: list[Gallery] = []
    known: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(changes):
        changed = one.images.assign(size=one.images.change.abs())
        changed = changed.sort_values(["size", "n_true", "ImageId"], ascending=False)
        for sign, key, word in ((1, "better", "gains"), (-1, "worse", "loses")):
            chosen = changed[sign * changed.change > 0]
            shown = chosen.head(PER_GALLERY)
            if shown.empty:
                continue
            why = f"{len(chosen):,} images are {key} than in {runs[0].name}, {len(shown)} shown."
            ids = shown.ImageId.tolist()
            galleries.append(Gallery(f"{key}{number}", f"{one.name} {word}", why, ids))
            for image in shown.itertuples():
                known.setdefault(str(image.ImageId), _known(image, changes))
    if not galleries:
        return None
    catalog = runs[0].catalog()
    layers = [Layer("true", "true ships", "true", catalog.objects())]
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        layers.append(Layer(f"run{number}", run.name, colour, ships_of(run)))
    sorts = {"change": "change of F2", "f2": "F2 of the first", "largest_px": "largest ship"}
    return show(galleries, Tiles(catalog, layers, lambda _: None), known, sorts)


def _known(image: Any, changes: Sequence[_Change]) -> dict[str, Any]:  # noqa: ANN401  a row
    """Return what the script needs of an image: its score in each run, the first one's first."""
    others = [one.images.loc[one.images.ImageId == image.ImageId, "f2_other"] for one in changes]
    scores = [f"{other.iloc[0]:.2f}" if len(other) else "–" for other in others]
    return {
        "fold": int(image.fold),
        "f2": round(float(image.f2), 4),
        "change": round(float(image.change), 4),
        "score": f"{image.f2:.2f} → {', '.join(scores)}",
        "n_true": int(image.n_true),
        "largest_px": int(image.largest_px),
        "caption": f"{image.n_true} true, {image.n_predicted} found by the first",
    }
