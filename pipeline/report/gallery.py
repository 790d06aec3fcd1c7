"""Which layers are worth a look, by what they can be filtered, and what is written below each.

Outcomes enter; galleries leave, as many tiles each, so that a page of 200,000 images is not larger
than one of 600. `pipeline.report.tiles` draws them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.outcomes import Outcomes
from pipeline.report.task import Task
from pipeline.seeds import generator

PER_GALLERY = 36

Tile = tuple[str, str]
"""Image and class."""


@dataclass(frozen=True)
class Gallery:
    """Some layers and why they are shown, the most telling first."""

    key: str
    title: str
    why: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Filter:
    """A choice of tiles: its name, a key of what is known of them, and the ranges to choose from.

    A range holds the values from its second to before its third part.
    """

    name: str
    key: str
    ranges: Sequence[tuple[str, float, float]]


@dataclass(frozen=True)
class _Choice:
    key: str
    title: str
    why: str
    among: Callable[[pd.DataFrame], pd.Series]
    by: tuple[str, ...]


ALARMS = _Choice(
    "alarms",
    "False alarms",
    "Predicted where there is nothing; the surest first.",
    lambda layers: (layers.n_true == 0) & (layers.n_predicted > 0),
    ("max_probability", "largest_px"),
)
BEST = _Choice(
    "best",
    "Best",
    "The highest scores where there is something.",
    lambda layers: layers.n_true > 0,
    ("score", "n_true"),
)
OBJECTS = (
    _Choice(
        "misses",
        "Worst misses",
        "The largest objects that were found at no IoU threshold.",
        lambda layers: layers.missed_px > 0,
        ("missed_px", "n_true"),
    ),
    ALARMS,
    _Choice(
        "merged",
        "Merged",
        "One predicted object holds several true ones.",
        lambda layers: layers.merged > 0,
        ("merged", "n_true"),
    ),
    _Choice(
        "split",
        "Split",
        "One true object holds several predicted ones.",
        lambda layers: layers.split > 0,
        ("split", "largest_px"),
    ),
    BEST,
)
MASKS = (
    _Choice(
        "silenced",
        "Overlooked",
        "Nothing was predicted, the largest masks first.",
        lambda layers: (layers.n_true > 0) & (layers.n_predicted == 0),
        ("true_px",),
    ),
    ALARMS,
    _Choice(
        "loosest",
        "Worst outlines",
        "The lowest scores where something is true and predicted.",
        lambda layers: (layers.n_true > 0) & (layers.n_predicted > 0),
        ("lost", "true_px"),
    ),
    BEST,
)


def galleries_of(outcomes: Outcomes, *, objects: bool) -> list[Gallery]:
    """Choose the layers of each gallery, as many of each class; an empty one is left out."""
    layers = outcomes.layers.assign(lost=1 - outcomes.layers.score)
    galleries, of_class = [], max(PER_GALLERY // layers.ClassId.nunique(), 1)
    for choice in OBJECTS if objects else MASKS:
        chosen = layers[choice.among(layers)]
        chosen = chosen.sort_values([*choice.by, "ImageId"], ascending=False)
        shown = chosen.groupby("ClassId").head(of_class)
        why = f"{choice.why} {len(chosen):,} found, {len(shown)} shown."
        galleries.append(Gallery(choice.key, choice.title, why, tiles_of(shown)))
    count = min(PER_GALLERY, len(layers))
    places = generator(0, "report").choice(len(layers), count, replace=False)
    why = f"Drawn by lot, so that the usual is seen beside the telling. {count} shown."
    galleries.append(Gallery("random", "Random", why, tiles_of(layers.iloc[np.sort(places)])))
    return [gallery for gallery in galleries if gallery.tiles]


def tiles_of(layers: pd.DataFrame) -> list[Tile]:
    """Return the tiles of rows of `Outcomes.layers`."""
    return list(zip(layers.ImageId, layers.ClassId, strict=True))


def filters_of(task: Task, folds: Sequence[int]) -> list[Filter]:
    """Return the filters of a page: by fold, class, score, and by the objects or the mask."""
    filters = [
        _of_values("Fold", "fold", {str(fold): fold for fold in folds}),
        Filter(task.score, "score", SCORES),
    ]
    if task.by_class:
        places = {name: place for place, name in enumerate(task.classes)}
        filters.insert(0, _of_values("Class", "class", places))
    if not task.competition.objects:
        return [*filters, Filter("True area", "true_share", SHARES)]
    return [
        *filters,
        Filter(f"Largest {task.one}", "largest_px", SIZES),
        Filter(f"True {task.many}", "n_true", COUNTS),
    ]


def _of_values(name: str, key: str, values: Mapping[str, int]) -> Filter:
    return Filter(name, key, [("all", -1, LARGEST), *((n, v, v + 1) for n, v in values.items())])


LARGEST = 1e12
SIZES = (
    ("any", 0, LARGEST),
    ("under 100 px", 0, 100),
    ("100–399 px", 100, 400),
    ("400–1,499 px", 400, 1500),
    ("1,500–4,999 px", 1500, 5000),
    ("5,000 px and more", 5000, LARGEST),
)
COUNTS = (
    ("any", 0, LARGEST),
    ("none", 0, 1),
    ("1", 1, 2),
    ("2", 2, 3),
    ("3–4", 3, 5),
    ("5–9", 5, 10),
    ("10 and more", 10, LARGEST),
)
SCORES = (("any", -1, 2), ("0", -1, 1e-9), ("up to ½", 1e-9, 0.5), ("½ to 1", 0.5, 1), ("1", 1, 2))
SHARES = (
    ("any", 0, 2),
    ("none", 0, 1e-12),
    ("under 1%", 1e-12, 0.01),
    ("1–5%", 0.01, 0.05),
    ("5–20%", 0.05, 0.2),
    ("20–50%", 0.2, 0.5),
    ("50% and more", 0.5, 2),
)
"""Of the mask's pixels."""


def known_of(layer: Any, task: Task, mask_px: int) -> dict[str, Any]:  # noqa: ANN401  a row
    """Return what the page's script needs of a row of `Outcomes.layers`; the unknown is null."""
    sure, details = float(layer.max_probability), []
    if task.competition.objects:
        caption = f"{layer.n_true} true, {layer.n_predicted} predicted"
        if layer.largest_px:
            details.append(f"largest {task.one} {layer.largest_px:,} px")
    else:
        shares = layer.true_px / mask_px, layer.predicted_px / mask_px
        caption = "{:.1%} true, {:.1%} predicted".format(*shares)
    if not math.isnan(sure):
        details.append(f"highest probability {sure:.2f}")
    return {
        "fold": int(layer.fold),
        "class": task.classes.index(layer.ClassId) if layer.ClassId else None,
        "score": round(float(layer.score), 4),
        "said": f"{layer.score:.3f}",
        "n_true": int(layer.n_true),
        "n_predicted": int(layer.n_predicted),
        "true_px": int(layer.true_px),
        "true_share": int(layer.true_px) / mask_px,
        "largest_px": int(layer.largest_px),
        "max_probability": None if math.isnan(sure) else sure,
        "caption": f"class {layer.ClassId}: {caption}" if layer.ClassId else caption,
        "details": details,
    }
