"""Runs side by side: what was changed, what it gained and where, and the images it changed most.

The first run is what the others are measured against. A difference is taken image by image, so that
its standard error over scenes is that of the difference itself, not that of two scores.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import ConfigError, DataError
from pipeline.metrics.metric import score
from pipeline.metrics.summaries import standard_error
from pipeline.report import charts
from pipeline.report.gallery import PER_GALLERY, Gallery, Tile, filters_of, known_of, tiles_of
from pipeline.report.outcomes import LAYER, Outcomes, outcomes_of
from pipeline.report.page import render
from pipeline.report.panels import Panel, Table, attempt, build, flatten
from pipeline.report.parts import by_kind
from pipeline.report.records import Records, texts_of
from pipeline.report.task import Task
from pipeline.report.tiles import Outlined, Tiles, show

COLOURS = ("predicted", "other1", "other2", "other3")


@dataclass(frozen=True)
class _Change:
    """What became of the layers that the first run and another share.

    One row per layer: columns of `Outcomes.layers`, `numerator` and `denominator` of the first, the
    same of the other with `_other` behind the name, and `change`, by which the other scores more.
    """

    name: str
    layers: pd.DataFrame


def compare(folders: Sequence[Path]) -> tuple[bytes, str]:
    """Compare runs, the first of which is the one to beat.

    Returns:
        The page, and the tables as text.

    Raises:
        DataError: They are of different tasks.
    """
    runs = [Records(folder) for folder in folders]
    names = [run.name for run in runs]
    with suppress(ConfigError):  # a configuration that cannot be read is told on the page
        _task(runs)
    changes, trouble = attempt(_changes, runs)
    gains = Panel("changes", "Image by image", problem=trouble)
    if changes is not None:
        gains = build("changes", "Image by image", _gains, runs[0], changes)
    made = [
        build("config", "What differs", _config, runs),
        build("scores", "What they score", _scores, runs),
        gains,
        build("parts", "Where one wins", _parts, runs),
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


def _task(runs: Sequence[Records]) -> Task:
    """Return the runs' task.

    Raises:
        DataError: They have different ones.
    """
    tasks = [run.task for run in runs]
    for run, task in zip(runs, tasks, strict=True):
        if task != tasks[0]:
            raise DataError(
                f"{runs[0].name} is {_in_words(tasks[0])}, {run.name} is {_in_words(task)}. "
                "Compare runs of one competition, with the same classes and metric."
            )
    return tasks[0]


def _in_words(task: Task) -> str:
    classes = ", ".join(task.competition.classes)
    return f"of {task.competition.name} (classes {classes}) by {task.score}"


def _scores(key: str, title: str, runs: Sequence[Records]) -> Panel:
    task, scores = _task(runs), [run.scores() for run in runs]
    names = {
        "score": f"out-of-fold {task.score}",
        "score_standard_error": "its standard error over scenes",
        "score_fold_deviation": "its standard deviation over folds",
        "score_all_empty": "the all-empty answer",
        "score_object_images": f"{task.score} of images with {task.many}",
        "score_empty_images": f"{task.score} of empty images",
    }
    rows = [[name, *(each[field] for each in scores)] for field, name in names.items()]
    for class_id in scores[0].get("classes", ()):
        values = [each["classes"][class_id]["score"] for each in scores]
        rows.append([f"{task.score} of class {class_id}", *values])
    tested = [run.test_score() for run in runs]
    if any(value is not None for value in tested):
        rows.append([f"{task.score} of test images", *tested])
    cells = [[name, *("–" if v is None else f"{v:.4f}" for v in values)] for name, *values in rows]
    return Panel(key, title, tables=[Table(["score", *(run.name for run in runs)], cells)])


def _changes(runs: Sequence[Records]) -> list[_Change]:
    """Pair the layers of the first run with those of each other run.

    Raises:
        DataError: The runs are of different tasks, the truth of a shared image differs, or no image
            is shared.
    """
    _task(runs)
    first, *others = (_with_terms(outcomes_of(run)) for run in runs)
    changes = []
    for run, other in zip(runs[1:], others, strict=True):
        both = first.merge(other, on=LAYER, suffixes=("", "_other"))
        if both.empty or (both.true_px != both.true_px_other).any():
            raise DataError(
                f"{runs[0].name} and {run.name} are of different images, or of different truths. "
                "Compare runs on the same data."
            )
        changes.append(_Change(run.name, both.assign(change=both.score_other - both.score)))
    return changes


def _with_terms(outcomes: Outcomes) -> pd.DataFrame:
    numerator, denominator = outcomes.matches.terms
    return outcomes.layers.assign(numerator=numerator, denominator=denominator)


def _gain(layers: pd.DataFrame) -> tuple[float, float | None]:
    """Return how much better the other run scores layers, and the standard error of that.

    A score is a ratio of sums, and changes with one layer by the layer's numerator less the score
    times its denominator, over the mean denominator: for a mean, by the layer's score less the
    mean. The standard error is that of the mean of the difference.
    """
    scores, influence = [], []
    for suffix in ("", "_other"):
        terms = layers[[f"numerator{suffix}", f"denominator{suffix}"]].to_numpy().T
        scores.append(score(terms) or 0.0)
        influence.append((terms[0] - scores[-1] * terms[1]) / max(terms[1].mean(), 1e-12))
    difference = influence[1] - influence[0]
    return scores[1] - scores[0], standard_error(difference, layers.group.to_numpy())


def _gains(key: str, title: str, first: Records, changes: Sequence[_Change]) -> Panel:
    """Say what each run gains on the first, with the spread of the difference itself."""
    task, rows = first.task, []
    for one in changes:
        layers = one.layers
        for name, chosen in (
            ("all images", layers),
            (f"with {task.many}", layers[layers.n_true > 0]),
            ("empty", layers[layers.n_true == 0]),
        ):
            if chosen.empty:
                continue
            gain, error = _gain(chosen)
            rows.append(
                [
                    *(f"{one.name} − {first.name}, {name}", f"{len(chosen):,}"),
                    *(f"{gain:+.4f}", "–" if error is None else f"{error:.4f}"),
                    *(f"{(chosen.change > 0).sum():,}", f"{(chosen.change < 0).sum():,}"),
                ]
            )
    header = [f"difference of {task.score}", "images", "gain", "standard error", "better", "worse"]
    lead = "A difference of less than two standard errors may be luck."
    return Panel(key, title, lead, tables=[Table(header, rows)])


def _parts(key: str, title: str, runs: Sequence[Records]) -> Panel:
    task = _task(runs)
    scores = {run.name: run.scores() for run in runs}
    folds = {
        name: {fold: of_fold["score"] for fold, of_fold in each["folds"].items()}
        for name, each in scores.items()
    }
    spread = charts.fold_spread(f"{task.score} by fold", folds, task.score)
    whole = next(iter(scores.values()))
    return Panel(key, title, drawings=[*by_kind(task, whole, scores), spread])


def _gallery(runs: Sequence[Records], changes: Sequence[_Change]) -> dict[str, Any] | None:
    """Show the layers that each other run does better and worse than the first, if any."""
    task, sizes = runs[0].task, runs[0].mask_sizes()
    galleries: list[Gallery] = []
    known: dict[Tile, dict[str, Any]] = {}
    for number, one in enumerate(changes):
        changed = one.layers.assign(size=one.layers.change.abs())
        changed = changed.sort_values(["size", "n_true", "ImageId"], ascending=False)
        for sign, key, word in ((1, "better", "gains"), (-1, "worse", "loses")):
            chosen = changed[sign * changed.change > 0]
            shown = chosen.head(PER_GALLERY)
            if shown.empty:
                continue
            why = f"{len(chosen):,} images are {key} than in {runs[0].name}, {len(shown)} shown."
            galleries.append(Gallery(f"{key}{number}", f"{one.name} {word}", why, tiles_of(shown)))
            for tile, layer in zip(tiles_of(shown), shown.itertuples(), strict=True):
                if tile not in known:
                    known[tile] = _known(layer, task, math.prod(sizes[tile[0]]), changes)
    if not galleries:
        return None
    outlined = [Outlined("true", f"true {task.drawn}", "true", texts_of(runs[0].truth()))]
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        outlined.append(Outlined(f"run{number}", run.name, colour, texts_of(run.predicted())))
    tiles = Tiles(task, runs[0].catalog(), sizes, outlined)
    folds = sorted({each["fold"] for each in known.values()})
    sorts = {"change": f"change of {task.score}", "score": f"{task.score} of the first"}
    return show(galleries, tiles, known, sorts, filters_of(task, folds))


def _known(
    layer: Any,  # noqa: ANN401  a row
    task: Task,
    mask_px: int,
    changes: Sequence[_Change],
) -> dict[str, Any]:
    """Return what the script needs of a layer: its score in each run, the first one's first."""
    scores = []
    for one in changes:
        both = one.layers
        of_tile = (both.ImageId == layer.ImageId) & (both.ClassId == layer.ClassId)
        scores.append("".join(f"{each:.2f}" for each in both.score_other[of_tile]) or "–")
    known = known_of(layer, task, mask_px)
    return known | {
        "caption": f"{known['caption']} by the first",
        "change": round(float(layer.change), 4),
        "said": f"{layer.score:.2f} → {', '.join(scores)}",
    }
