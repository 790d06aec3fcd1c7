"""A panel of a page that takes the score apart: by class, size, number, area and fold."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import charts
from pipeline.report.curves import Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.outcomes import Outcomes
from pipeline.report.panels import Panel, Table
from pipeline.report.records import Records
from pipeline.report.task import Task

MOST_POINTS = 300
"""Of a plot: each weighs 100 bytes."""


def parts(key: str, title: str, outcomes: Outcomes, records: Records) -> Panel:
    """Show the score by class, size and number or area, by fold, and by kind of image."""
    task, scores = records.task, records.scores()
    kinds = {"": "all images", "_object_images": f"with {task.many}", "_empty_images": "empty"}
    folds = {
        name: {fold: of_fold[f"score{kind}"] for fold, of_fold in scores["folds"].items()}
        for kind, name in kinds.items()
    }
    several: Mapping[str, Any] = scores.get("classes", {})
    runs = {f"class {name}": each for name, each in several.items()} or {task.score: scores}
    drawings = by_kind(task, scores, runs)
    tables = [_prevalence(task, scores)] if scores.get("by_object_share") else []
    if not task.competition.objects:
        drawings.append(_cases(outcomes, task))
    if several:
        tables.insert(0, _of_classes(task, several))
    drawings.append(charts.fold_spread(f"{task.score} by fold", folds, task.score))
    drawings.append(_sizes(outcomes, task))
    return Panel(key, title, drawings=drawings, tables=tables)


def by_kind(
    task: Task, whole: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]
) -> list[Drawing]:
    """Draw the score by the objects' size and number in the image, or by the mask's area.

    Args:
        task: Of the runs.
        whole: The scores whose numbers of objects and images stand below.
        runs: Scores to draw, by what to call them: of runs, or of the classes of one.
    """
    score, one, many = task.score, task.one, task.many
    drawings = []
    if "by_object_size" in whole:
        found = [row["found"] for row in whole["by_object_size"]]
        more = {"share found": found} if len(runs) == 1 else {}
        drawings.append(
            charts.bars(
                f"{score} by object size",
                {
                    _span(row["from_px"], row["to_px"]): row["true_objects"]
                    for row in whole["by_object_size"]
                },
                _columns(runs, "by_object_size") | more,
                f"area of the {one}, px; below: true {many}",
                score,
            )
        )
        drawings.append(
            charts.bars(
                f"{score} by objects per image",
                {
                    _span(row["from_objects"], row["to_objects"]): row["images"]
                    for row in whole["by_object_count"]
                },
                _columns(runs, "by_object_count"),
                f"{many} in the image; below: images",
                score,
            )
        )
    if "by_area_share" in whole:
        drawings.append(
            charts.bars(
                f"{score} by true area",
                {_share(row): row["images"] for row in whole["by_area_share"]},
                _columns(runs, "by_area_share"),
                "share of the image; below: true masks",
                score,
            )
        )
    return drawings


def _columns(runs: Mapping[str, Mapping[str, Any]], table: str) -> dict[str, list[float | None]]:
    return {name: [row["score"] for row in run[table]] for name, run in runs.items()}


def _share(row: Mapping[str, Any]) -> str:
    least, end = row["from_share"], row["to_share"]
    return f"{least:.0%}+" if end is None else f"{100 * least:.0f}–{end:.0%}"


def _cases(outcomes: Outcomes, task: Task) -> Drawing:
    """Draw how many masks of each class are true, predicted, both, or neither."""
    layers = outcomes.layers
    cases = {
        "true and predicted": (layers.n_true > 0) & (layers.n_predicted > 0),
        "overlooked": (layers.n_true > 0) & (layers.n_predicted == 0),
        "false alarm": (layers.n_true == 0) & (layers.n_predicted > 0),
        "neither": (layers.n_true == 0) & (layers.n_predicted == 0),
    }
    classes = task.classes if task.by_class else ("",)
    counts = {
        name: [int(case[layers.ClassId == class_id].sum()) for class_id in classes]
        for name, case in cases.items()
    }
    rows = [f"class {class_id}" if class_id else "images" for class_id in classes]
    return charts.shares("Masks that are there, and found", rows, counts, "images")


def _of_classes(task: Task, classes: Mapping[str, Mapping[str, Any]]) -> Table:
    kinds = {
        f"of images with {task.many}": "score_object_images",
        "of empty images": "score_empty_images",
        "all-empty answer": "score_all_empty",
    }
    rows = [
        [
            *(name, f"{each['object_images']:,}"),
            _with_error(each["score"], each["score_standard_error"]),
            *(_with_error(each[column], None) for column in kinds.values()),
        ]
        for name, each in classes.items()
    ]
    return Table(["class", f"images with {task.many}", task.score, *kinds], rows)


def _sizes(outcomes: Outcomes, task: Task) -> Drawing:
    """Draw the area of what was predicted over that of what it fits, a few hundred by lot."""
    partners = outcomes.partners()
    if len(partners) > MOST_POINTS:
        partners = partners.sample(MOST_POINTS, random_state=0)
    gap = (partners.predicted_px / partners.true_px).median() if len(partners) else 1.0
    return curves(
        "Predicted over true area",
        [Curve("", partners.true_px, partners.predicted_px, points=True)],
        f"true area of the {task.one if task.competition.objects else 'mask'}, px",
        "predicted area, px",
        said=f"{len(partners)} pairs; the predicted area is {gap:.2f} of the true, median",
        equal=True,
        log=True,
    )


def _prevalence(task: Task, scores: Mapping[str, Any]) -> Table:
    """Say what to expect where another share of the images holds objects."""
    shares = [{**scores, "object_share": scores["object_images"] / scores["images"]}]
    rows = [
        [
            f"{row['object_share']:.0%}",
            _with_error(row["score"], row["score_standard_error"]),
            f"{row['score_all_empty']:.4f}",
        ]
        for row in [*shares, *scores["by_object_share"]]
    ]
    return Table([f"images with {task.many}", f"{task.score} to expect", "all-empty answer"], rows)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def _span(least: int, last: int | None) -> str:
    """Name a class of whole numbers, `last` its largest: 1, 3–4, 10+, 400–1.5k."""
    if last is None:
        return f"{_short(least)}+"
    if last >= 99:
        return f"{_short(least)}–{_short(last + 1)}"
    return str(least) if last == least else f"{least}–{last}"


def _short(number: int) -> str:
    return str(number) if number < 1000 else f"{number / 1000:g}k"
