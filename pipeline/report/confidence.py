"""A panel of a page on confidence: are they true, and are sure objects right?"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.maps import MAX_LEVEL
from pipeline.metrics.reliability import in_words
from pipeline.report.curves import Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.outcomes import Outcomes
from pipeline.report.panels import Panel, Table
from pipeline.report.records import Records
from pipeline.report.sample import Sample, draw_sample
from pipeline.report.task import Task


def confidence(key: str, title: str, outcomes: Outcomes, records: Records) -> Panel:
    """Show whether probabilities and confidence are true, and whether sure objects are right."""
    task, sample = records.task, draw_sample(records, outcomes)
    drawings = [_reliability(sample)]
    if task.competition.objects and sample.n_true and len(sample.objects):
        drawings.append(_over_recall(sample, task))
    lead = (
        f"Of {sample.layers:,} maps drawn by lot; those that stay below `predict.floor` are not "
        "kept, and their pixels not counted."
    )
    known, tables = _known(records), []
    if known:
        lead += " Confidence is that of all objects, each judged by what was fitted on other folds."
    for class_id, each in known.items():
        bins = each["reliability"]["bins"]
        drawings.append(_of_objects(class_id, bins, task))
        rows = [
            [
                f"{one['from']:.1f} to {one['to']:.1f}",
                f"{one['objects']:,}",
                *(f"{one[name]:.3f}" for name in ("confidence", "right")),
            ]
            for one in bins
        ]
        header = ["confidence", "objects", "mean confidence", "share that is true"]
        tables.append(Table(header, rows, f"{class_id}: {in_words(each)}", folded=True))
    return Panel(key, title, lead, drawings, tables)


def _known(records: Records) -> dict[str, Any]:
    """Return what is known of each class with a confidence; earlier versions had none."""
    if "confidence.json" not in records.read("calibrate/manifest.json")["outputs"]:
        return {}
    known = records.read("calibrate/confidence.json")
    return {class_id: each for class_id, each in known.items() if each["reliability"] is not None}


def _of_objects(class_id: str, bins: Sequence[Mapping[str, float]], task: Task) -> Drawing:
    """Draw the share of a class's objects that are true over their confidence."""
    x, y = ([one[name] for one in bins] for name in ("confidence", "right"))
    return curves(
        f"Is the confidence of {task.many} true?"
        + (f" Class {class_id}" if len(task.competition.classes) > 1 else ""),
        [Curve("objects", x, y)],
        "confidence: the chance of an IoU above 0.5",
        "share that is true, out-of-fold",
        said="; ".join(f"{b:.2f} of those at {a:.2f}" for a, b in zip(x, y, strict=True)),
        equal=True,
        zero=True,
    )


def _reliability(sample: Sample) -> Drawing:
    """Draw the share of pixels that are true over their probability, in ten steps."""
    x, y, step = [], [], np.linspace(0, MAX_LEVEL + 1, 11).round().astype(int)
    for start, end in pairwise(step):
        pixels = sample.pixels[start:end]
        if pixels.sum():
            x.append(np.average(np.arange(start, end), weights=pixels) / MAX_LEVEL)
            y.append(sample.true_pixels[start:end].sum() / pixels.sum())
    gap = max((abs(b - a), a, b) for a, b in zip(x, y, strict=True)) if x else (0.0, 0.0, 0.0)
    return curves(
        "Are probabilities true?",
        [Curve("pixels", x, y)],
        "probability of a pixel",
        "share that is true",
        said=f"furthest apart at {gap[1]:.2f}, where {gap[2]:.2f} are true",
        equal=True,
        zero=True,
    )


def _over_recall(sample: Sample, task: Task) -> Drawing:
    """Draw precision over recall as less and less sure objects are taken."""
    objects = sample.objects.sort_values("confidence", ascending=False)
    right = objects.hit.to_numpy().cumsum()
    count = np.arange(1, len(objects) + 1)
    shown = np.unique(np.linspace(0, len(objects) - 1, 100).round().astype(int))
    precision, recall = (right / count)[shown], (right / sample.n_true)[shown]
    return curves(
        f"Precision over recall of {task.many}",
        [Curve("", recall, precision)],
        "recall, at an IoU above 0.5; the surest first",
        "precision",
        said=f"all {len(objects)}: precision {precision[-1]:.2f}, recall {recall[-1]:.2f}",
        zero=True,
        marks=[(recall[-1], precision[-1], f"all: {precision[-1]:.2f}, {recall[-1]:.2f}")],
    )
