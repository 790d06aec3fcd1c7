"""Panels of a page that judge: where F2 is lost, what it depends on, what calibration chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report import charts
from pipeline.report.curves import Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.outcomes import CAUSES, Outcomes
from pipeline.report.panels import Panel, Table
from pipeline.report.records import Records

LONG = 100


def lost(key: str, title: str, outcomes: Outcomes) -> Panel:
    """Divide the lost F2 among its causes."""
    points = {CAUSES[cause]: value for cause, value in outcomes.lost().items()}
    first, value = max(points.items(), key=lambda item: item[1])
    whole = sum(points.values())
    share = value / whole if whole else 0.0
    lead = f"{whole:.4f} of 1 is lost; {share:.0%} of it are {first}."
    return Panel(key, title, lead, [charts.lost_points("Where F2 is lost", points)])


def thresholds(key: str, title: str, outcomes: Outcomes, records: Records) -> Panel:
    """Show F2 over the IoU a hit needs, and over the probability an object's pixel needs."""
    iou = np.arange(50, 100, 5) / 100
    every, ship = outcomes.f2_over_iou(ships_only=False), outcomes.f2_over_iou(ships_only=True)
    lines = [
        Curve("all images", iou, every, 0),
        Curve("images with ships", iou, ship, 1, dashed=True),
    ]
    said = f"all images {every[0]:.3f} at 0.50, {every[-1]:.3f} at 0.95"
    drawings = [
        curves("F2 over the IoU of a hit", lines, "IoU threshold", "F2", said=said, zero=True)
    ]
    by_threshold = records.read("calibrate/scores.json").get("by_threshold")
    if by_threshold:
        drawings.append(_over_probability(by_threshold))
    lead = (
        "A steep fall over the IoU means objects that are found but loosely outlined. The maximum "
        "of a map is what tells images with objects from empty ones."
    )
    return Panel(key, title, lead, [*drawings, *_gate(outcomes)])


def _over_probability(by_threshold: Sequence[Mapping[str, float]]) -> Drawing:
    x = [row["threshold"] / 255 for row in by_threshold]
    f2 = [row["f2"] for row in by_threshold]
    best = int(np.argmax(f2))
    return curves(
        "F2 over the probability of an object's pixel",
        [Curve("", x, f2)],
        "probability threshold",
        "F2, other rules at their best",
        said=f"best {f2[best]:.4f} at {x[best]:.2f}",
        marks=[(x[best], f2[best], f"best: {f2[best]:.4f} at {x[best]:.2f}")],
    )


def classes(key: str, title: str, records: Records) -> Panel:
    """Show F2 by the objects' size and number in the image, by fold, and by kind of image."""
    scores = records.read("calibrate/scores.json")
    folds = {
        name: {fold: of_fold[kind] for fold, of_fold in scores["folds"].items()}
        for kind, name in KINDS.items()
    }
    found = {"share found": [row["found"] for row in scores["by_ship_size"]]}
    drawings = [*by_class({"F2": scores}, found), charts.fold_spread("F2 by fold", folds)]
    return Panel(key, title, drawings=drawings, tables=[_prevalence(scores)])


def by_class(
    runs: Mapping[str, Mapping[str, Any]],
    of_size: Mapping[str, Sequence[float | None]] | None = None,
) -> list[Drawing]:
    """Draw F2 by the objects' size and by their number in the image.

    Args:
        runs: The scores of each run, by what to call it; classes are those of the first.
        of_size: More bars for the sizes, by what to call them.
    """
    first = next(iter(runs.values()))
    size, count = first["by_ship_size"], first["by_ship_count"]
    f2_of_size = {name: [row["f2"] for row in run["by_ship_size"]] for name, run in runs.items()}
    f2_of_count = {name: [row["f2"] for row in run["by_ship_count"]] for name, run in runs.items()}
    return [
        charts.bars(
            "F2 by object size",
            [_span(row["from_px"], row["to_px"]) for row in size],
            {**f2_of_size, **(of_size or {})},
            "area of the object, px; below: true objects",
            "F2 of all objects of a size",
            counts=[row["true_ships"] for row in size],
        ),
        charts.bars(
            "F2 by objects per image",
            [_span(row["from_ships"], row["to_ships"]) for row in count],
            f2_of_count,
            "ships in the image; below: images",
            "F2, mean over images",
            counts=[row["images"] for row in count],
        ),
    ]


def _prevalence(scores: Mapping[str, Any]) -> Table:
    """Say what to expect where another share of the images holds objects."""
    shares = [{**scores, "ship_share": scores["ship_images"] / scores["images"]}]
    rows = [
        [
            f"{row['ship_share']:.0%}",
            _with_error(row["f2"], row["f2_standard_error"]),
            f"{row['f2_all_empty']:.4f}",
        ]
        for row in [*shares, *scores.get("by_ship_share", [])]
    ]
    return Table(["images with ships", "F2 to expect", "all-empty answer"], rows)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


KINDS = {"f2": "all images", "f2_ship_images": "with ships", "f2_empty_images": "empty"}


def _span(least: int, last: int | None) -> str:
    """Name a class of whole numbers, `last` its largest: 1, 3–4, 10+, 400–1.5k."""
    if last is None:
        return f"{_short(least)}+"
    if last >= 99:
        return f"{_short(least)}–{_short(last + 1)}"
    return str(least) if last == least else f"{least}–{last}"


def _short(number: int) -> str:
    return str(number) if number < 1000 else f"{number / 1000:g}k"


def _gate(outcomes: Outcomes) -> list[Drawing]:
    """Draw how well a map's maximum tells images with objects from empty ones."""
    images = outcomes.images.dropna(subset=["max_probability"])
    if images.empty:
        return []
    sure, has_object = images.max_probability.to_numpy(), (images.n_true > 0).to_numpy()
    levels = np.unique(np.quantile(sure, np.linspace(0, 1, 101)))
    passed = np.array([(sure >= level).sum() for level in levels])
    right = np.array([(has_object & (sure >= level)).sum() for level in levels])
    precision, recall = right / passed, right / max(has_object.sum(), 1)
    half = int(np.abs(precision - recall).argmin())
    said = f"both {precision[half]:.2f} where maps reach {levels[half]:.2f}"
    return [
        curves(
            "Is there an object? Over confidence",
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
            "Is there an object? Precision over recall",
            [Curve("", recall, precision)],
            "recall, of the images with ships",
            "precision",
            said=said,
            zero=True,
            marks=[(recall[half], precision[half], f"equal: {precision[half]:.2f}")],
        ),
    ]


def rules(key: str, title: str, records: Records) -> Panel:
    """Show the rules, those of each fold beside those for the test images, and what each gained."""
    recorded = records.read("calibrate/rules.json")
    scores = records.read("calibrate/scores.json")
    chosen = {"test images": flatten(recorded["rules"])}
    for fold, value in recorded["cross_fitted"].items():
        chosen[f"for fold {fold}"] = flatten(value)
    names = list(dict.fromkeys(name for each in chosen.values() for name in each))
    cells = [[name, *(each.get(name, "–") for each in chosen.values())] for name in names]
    flattery = scores["f2_in_sample"] - scores["f2"]
    lead = (
        "Each fold is scored with rules fitted on the others, which are at work in every number of "
        f"this page. Rules fitted on all images would flatter themselves by {flattery:+.4f}."
    )
    drawings = []
    tried = recorded.get("tried")
    if tried:
        gains = {
            f"{one['rule']}, {'kept' if one['kept'] else 'not kept'}": (
                one["gain"],
                one["standard_error"],
            )
            for one in tried
        }
        drawings.append(charts.gains("What each rule gained", gains))
    return Panel(key, title, lead, drawings, [Table(["rule", *chosen], cells)])


def flatten(tree: Any, key: str = "") -> dict[str, str]:  # noqa: ANN401  a JSON or YAML value
    """Write a tree of settings as `dotted.key: value`; what is long is told by its length."""
    if isinstance(tree, dict) and tree:
        inner = (
            flatten(value, f"{key}.{name}" if key else str(name)) for name, value in tree.items()
        )
        return {name: value for part in inner for name, value in part.items()}
    text = str(tree)
    if len(text) <= LONG:
        return {key: text}
    return {key: f"{len(tree if isinstance(tree, list) else text.split()):,} values"}
