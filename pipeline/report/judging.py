"""Panels of a page that judge: where the score is lost, over which thresholds, by which rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.maps import MAX_LEVEL
from pipeline.report import charts
from pipeline.report.curves import Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.outcomes import Outcomes, causes
from pipeline.report.panels import Panel, Table, flatten
from pipeline.report.records import Records
from pipeline.report.task import Task

LEVELS = {"threshold", "filter_level"}
"""Rules that are levels of probability."""


def lost(key: str, title: str, outcomes: Outcomes, records: Records) -> Panel:
    """Divide the lost score among its causes."""
    task, values = records.task, outcomes.lost()
    words = causes(task.one, task.many, objects=task.competition.objects)
    points = {text: values[cause] for cause, text in words.items()}
    first, value = max(points.items(), key=lambda item: item[1])
    whole = sum(points.values())
    share = value / whole if whole else 0.0
    lead = f"{whole:.4f} of 1 is lost; {share:.0%} of it are {first}."
    drawing = charts.lost_points(title, points, f"{task.score} lost, of 1 in all")
    return Panel(key, title, lead, [drawing])


def thresholds(key: str, title: str, outcomes: Outcomes, records: Records) -> Panel:
    """Show the score over the IoU a hit needs, and over the probability a pixel needs."""
    task, drawings, lead = records.task, [], ""
    every, some = (outcomes.over_iou(with_objects=only) for only in (False, True))
    if np.ptp(every) > 0:
        iou = np.arange(50, 100, 5) / 100
        lines = [
            Curve("all images", iou, every, 0),
            Curve(f"images with {task.many}", iou, some, 1, dashed=True),
        ]
        said = f"all images {every[0]:.3f} at 0.50, {every[-1]:.3f} at 0.95"
        heading = f"{task.score} over the IoU of a hit"
        drawings.append(curves(heading, lines, "IoU threshold", task.score, said=said, zero=True))
        lead = "A steep fall over the IoU means what is found but loosely outlined. "
    scores = records.scores()
    classes = {f"class {name}": each for name, each in scores.get("classes", {}).items()}
    tried = {
        name: rows
        for name, each in {"": scores, **classes}.items()
        if (rows := each.get("by_threshold"))
    }
    if tried:
        drawings.append(_over_probability(task, tried))
    gate = _gate(outcomes, task)
    if gate:
        lead += f"The maximum of a map is what tells images with {task.many} from empty ones."
    return Panel(key, title, lead, [*drawings, *gate])


def _over_probability(task: Task, tried: Mapping[str, Sequence[Mapping[str, float]]]) -> Drawing:
    """Draw the score by threshold, a line for each class."""
    lines, marks = [], []
    for style, (name, rows) in enumerate(tried.items()):
        x = [row["threshold"] / MAX_LEVEL for row in rows]
        y = [row["score"] for row in rows]
        best = int(np.argmax(y))
        lines.append(Curve(f"{name} best: {y[best]:.4f} at {x[best]:.2f}".strip(), x, y, style))
        marks.append((x[best], y[best], ""))
    return curves(
        f"{task.score} over the probability of a pixel",
        lines,
        "probability threshold; other rules at their best",
        task.score,
        said="; ".join(line.label for line in lines),
        marks=marks,
    )


def _gate(outcomes: Outcomes, task: Task) -> list[Drawing]:
    """Draw how well a map's maximum tells images with objects from empty ones."""
    images = outcomes.layers.dropna(subset=["max_probability"])
    sure, has_object = images.max_probability.to_numpy(), (images.n_true > 0).to_numpy()
    if has_object.all() or not has_object.any():
        return []
    levels = np.unique(np.quantile(sure, np.linspace(0, 1, 101)))
    passed = np.array([(sure >= level).sum() for level in levels])
    right = np.array([(has_object & (sure >= level)).sum() for level in levels])
    precision, recall = right / passed, right / has_object.sum()
    half = int(np.abs(precision - recall).argmin())
    said = f"both {precision[half]:.2f} where maps reach {levels[half]:.2f}"
    return [
        curves(
            f"Any {task.one}? Over confidence",
            [
                Curve("precision", levels, precision, 0),
                Curve("recall", levels, recall, 1, dashed=True),
            ],
            "least maximum of an image's map, probability",
            "share of images",
            said=said,
            zero=True,
        ),
        curves(
            f"Any {task.one}? Precision over recall",
            [Curve("", recall, precision)],
            f"recall, of the images with {task.many}",
            "precision",
            said=said,
            zero=True,
            marks=[(recall[half], precision[half], f"equal: {precision[half]:.2f}")],
        ),
    ]


def rules(key: str, title: str, records: Records) -> Panel:
    """Show the rules, those of each fold beside those for the test images, and what each gained."""
    task, scores = records.task, records.scores()
    recorded = records.read("calibrate/rules.json")
    flattery = scores["score_in_sample"] - scores["score"]
    lead = (
        "Each fold is scored with rules fitted on the others, which are at work in every number of "
        f"this page. Rules fitted on all images would flatter themselves by {flattery:+.4f}."
    )
    drawings, tables = [], []
    for name, each in recorded.get("classes", {"": recorded}).items():
        chosen = {"test images": each["rules"]}
        chosen |= {f"for fold {fold}": value for fold, value in each["cross_fitted"].items()}
        columns = [flatten(_rounded(value)) for value in chosen.values()]
        names = dict.fromkeys(rule for column in columns for rule in column)
        cells = [[rule, *(column.get(rule, "–") for column in columns)] for rule in names]
        tables.append(Table(["rule", *chosen], cells, f"Class {name}" if name else ""))
        gains = {
            f"{one['rule']}, {'kept' if one['kept'] else 'not kept'}": (
                one["gain"],
                one["standard_error"],
            )
            for one in each.get("tried", ())
        }
        if gains:
            heading = f"What each rule gained{f', class {name}' if name else ''}"
            x = f"gain of {task.score}, with its standard error over scenes"
            drawings.append(charts.gains(heading, gains, x))
    return Panel(key, title, lead, drawings, tables)


def _rounded(rules: Any, name: str = "") -> Any:  # noqa: ANN401  a JSON value
    """Round numbers for people, and name levels of probability as such."""
    if isinstance(rules, dict):
        return {key: _rounded(value, key) for key, value in rules.items()}
    if name in LEVELS and isinstance(rules, int):
        return f"{rules / MAX_LEVEL:.2f} ({rules} of {MAX_LEVEL})"
    return f"{rules:.4g}" if isinstance(rules, float) else rules
