"""Which predicted objects fit which true ones, and what a metric says of it, exactly, from runs.

Two tables of objects enter; a score for each layer, one class of one image, leaves, and how well
each object was found. Masks of one layer never overlap, so above an IoU of 0.5 an object has at
most one partner and hits need no assignment.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.masks.rle import Labels, Runs, find_overlaps, parse_rows
from pipeline.masks.sizes import Sizes
from pipeline.metrics.iou import hits_from_areas
from pipeline.metrics.metric import Floats, Integers, Metric, add_up, ratios

# Layers scored at once: their runs stay in the processor's cache. All of a competition at once
# took three times the time and half a GiB more.
BLOCK_LAYERS = 2048


@dataclass(frozen=True)
class Matches:
    """What `match_objects` found.

    A layer is named by `ImageId`, and by `ClassId` where the tables have it and the metric does not
    pool the classes of an image.

    Attributes:
        metric: What scored it.
        sizes: Of the images.
        images: The layer, `n_true`, `n_predicted`, `true_px`, `predicted_px`, `shared_px` (in
            both), and its score under the metric's key; one row per layer, in the truth's order.
        terms: Numerator and denominator of the same, see `Metric.terms`.
        true_ships: The layer, `area_px`, `best_iou` (0 where nothing was predicted there), `hits`
            (at how many of the ten thresholds it is found); one row per true object, in the layers'
            order.
        predicted_ships: the same of the predicted objects, and `shared_px`: its pixels that are of
            any true object, `size_px`: the area that puts it into a size class, of the true object
            it fits best, its own where it touches none.
        overlaps: `true`, `predicted` (rows of the tables above) and `shared_px`; one row per pair
            of objects that share pixels.
    """

    metric: Metric
    sizes: Sizes
    images: pd.DataFrame
    terms: Floats
    true_ships: pd.DataFrame
    predicted_ships: pd.DataFrame
    overlaps: pd.DataFrame


@dataclass(frozen=True)
class _Ships:
    """The objects of one table: their areas, and all their runs on one axis, sorted."""

    area_px: Integers
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Pairs:
    """The areas of all objects, and the pairs of a true and a found object that share pixels."""

    true_area_px: Integers
    found_area_px: Integers
    true: Integers
    found: Integers
    shared_px: Integers

    @property
    def union_px(self) -> Integers:
        both = self.true_area_px[self.true] + self.found_area_px[self.found]
        union: Integers = both - self.shared_px
        return union

    @classmethod
    def joined(cls, blocks: Sequence["_Pairs"]) -> "_Pairs":
        """Put blocks of layers one after the other."""
        true = np.cumsum([0, *(len(block.true_area_px) for block in blocks)]).tolist()
        found = np.cumsum([0, *(len(block.found_area_px) for block in blocks)]).tolist()
        both = list(zip(blocks, true[:-1], found[:-1], strict=True))
        return cls(
            np.concatenate([block.true_area_px for block in blocks]),
            np.concatenate([block.found_area_px for block in blocks]),
            np.concatenate([block.true + first for block, first, _ in both]),
            np.concatenate([block.found + first for block, _, first in both]),
            np.concatenate([block.shared_px for block in blocks]),
        )


def match_objects(
    truth: pd.DataFrame, predicted: pd.DataFrame, sizes: Sizes, metric: Metric
) -> Matches:
    """Score a table of objects against the truth.

    Args:
        truth: Instances; see `pipeline.masks.instances`.
        predicted: Instances of the same images (and classes).
        sizes: Of the images.
        metric: The metric in force.

    Raises:
        DataError: The tables are not of the same layers, an RLE is illegal, or masks of one layer
            share pixels.
    """
    keys = ["ImageId", "ClassId"]
    if metric.pools_classes or "ClassId" not in truth:
        keys = keys[:1]
    layers = _layers(truth, keys).unique()
    _check_same_layers(layers, _layers(predicted, keys).unique())
    true_layer, true_texts = _ship_rows(truth, keys, layers)
    found_layer, found_texts = _ship_rows(predicted, keys, layers)
    firsts = np.arange(0, max(len(layers), 1) + BLOCK_LAYERS, BLOCK_LAYERS)
    true_rows = pairwise(np.searchsorted(true_layer, firsts).tolist())
    found_rows = pairwise(np.searchsorted(found_layer, firsts).tolist())
    blocks = []
    for (start, end), (found_start, found_end) in zip(true_rows, found_rows, strict=True):
        true_ships, found_ships = (
            _ships(name, layer[rows], texts[rows], layers, sizes)
            for name, layer, texts, rows in (
                ("truth", true_layer, true_texts, slice(start, end)),
                ("prediction", found_layer, found_texts, slice(found_start, found_end)),
            )
        )
        blocks.append(_intersections(true_ships, found_ships))
    where = {"true_layer": true_layer, "found_layer": found_layer}
    return _matches(metric, sizes, layers, pairs=_Pairs.joined(blocks), **where)


def _matches(
    metric: Metric,
    sizes: Sizes,
    layers: pd.Index,
    *,
    true_layer: Integers,
    found_layer: Integers,
    pairs: _Pairs,
) -> Matches:
    iou = pairs.shared_px / pairs.union_px
    hits = hits_from_areas(pairs.shared_px, pairs.union_px)
    true_ships = _ship_table(layers[true_layer], pairs.true_area_px, pairs.true, iou, hits)
    found_ships = _ship_table(layers[found_layer], pairs.found_area_px, pairs.found, iou, hits)
    size_px = pairs.found_area_px.copy()
    best_last = np.lexsort((pairs.true, iou))
    size_px[pairs.found[best_last]] = pairs.true_area_px[pairs.true[best_last]]
    shared_px = add_up(pairs.shared_px[:, None], pairs.found, len(size_px))[:, 0]
    found_ships = found_ships.assign(shared_px=shared_px, size_px=size_px)

    true = np.stack([np.ones_like(pairs.true_area_px), pairs.true_area_px], axis=1)
    n_true, true_px = add_up(true, true_layer, len(layers)).T
    found = np.stack([np.ones_like(size_px), pairs.found_area_px, shared_px], axis=1)
    n_predicted, predicted_px, both_px = add_up(found, found_layer, len(layers)).T
    parts = metric.parts(found_ships["hits"].to_numpy(), pairs.found_area_px, shared_px)
    terms = metric.terms(add_up(parts, found_layer, len(layers)), n_true, true_px)
    images = layers.to_frame(index=False).assign(
        n_true=n_true,
        n_predicted=n_predicted,
        true_px=true_px,
        predicted_px=predicted_px,
        shared_px=both_px,
        **{metric.key: ratios(terms)},
    )
    overlaps = {"true": pairs.true, "predicted": pairs.found, "shared_px": pairs.shared_px}
    return Matches(metric, sizes, images, terms, true_ships, found_ships, pd.DataFrame(overlaps))


def score_labels(metric: Metric, true_hw: Labels, found_hw: Labels) -> Floats:
    """Score one layer as `match_objects` does, from maps: 0 for background, 1..n for n objects.

    Returns:
        Its numerator and denominator, float64 (2,).
    """
    n_true, n_found = int(true_hw.max(initial=0)), int(found_hw.max(initial=0))
    true_px = np.bincount(true_hw.ravel(), minlength=n_true + 1)
    found_px = np.bincount(found_hw.ravel(), minlength=n_found + 1)
    both = (true_hw > 0) & (found_hw > 0)
    pairs = true_hw[both].astype(np.int64) * (n_found + 1) + found_hw[both]
    pair, shared_px = np.unique(pairs, return_counts=True)
    true, found = np.divmod(pair, n_found + 1)
    hits, in_truth = np.zeros((2, n_found + 1), np.int64)
    np.maximum.at(
        hits, found, hits_from_areas(shared_px, true_px[true] + found_px[found] - shared_px)
    )
    np.add.at(in_truth, found, shared_px)
    sums = metric.parts(hits[1:], found_px[1:], in_truth[1:]).sum(axis=0)
    terms: Floats = metric.terms(sums[None], np.array([n_true]), true_px[1:].sum(keepdims=True))[
        :, 0
    ]
    return terms


def _layers(frame: pd.DataFrame, keys: list[str]) -> pd.Index:
    """Return the layer of each row."""
    return pd.Index(frame[keys[0]]) if len(keys) == 1 else pd.MultiIndex.from_frame(frame[keys])


def _name(layer: str | tuple[str, str]) -> str:
    return layer if isinstance(layer, str) else "{}, class {}".format(*layer)


def _check_same_layers(truth: pd.Index, predicted: pd.Index) -> None:
    for name, layers in (
        ("missing from the prediction", truth.difference(predicted)),
        ("predicted but not in the truth", predicted.difference(truth)),
    ):
        if len(layers):
            first = "; ".join(map(_name, layers[:5]))
            raise DataError(
                f"{len(layers)} of {len(truth)} images are {name}: {first}. Both tables must hold "
                "the same images and classes; one without objects has a blank row."
            )


def _ship_rows(
    frame: pd.DataFrame, keys: list[str], layers: pd.Index
) -> tuple[Integers, list[str]]:
    """Return the layer and the text of each object, in the layers' order."""
    objects = frame[frame["EncodedPixels"] != ""]
    layer = layers.get_indexer(_layers(objects, keys)).astype(np.int64)
    order = np.argsort(layer, kind="stable")
    return layer[order], objects["EncodedPixels"].iloc[order].tolist()


def _ships(
    name: str, layer: Integers, encoded: list[str], layers: pd.Index, sizes: Sizes
) -> _Ships:
    of_object = sizes.of(layers[layer].get_level_values(0).tolist())
    try:
        runs, owners = parse_rows(encoded, *of_object.T)
    except DataError as error:
        of = f"images {_name(layers[layer[0]])} to {_name(layers[layer[-1]])}"
        raise DataError(f"{name}, {of}, counting their objects from 0: {error}") from error
    objects = _on_one_axis(runs, owners, layer, math.prod(sizes.largest))
    if (objects.starts[1:] < objects.ends[:-1]).any():
        pairs = find_overlaps(objects.starts, objects.ends - objects.starts, objects.owners)
        raise DataError(
            f"{name}: masks share pixels, first in image {_name(layers[layer[pairs[0, 0]]])}. The "
            "competition refuses such a file."
        )
    return objects


def _on_one_axis(runs: Runs, owners: npt.NDArray[np.int64], layer: Integers, size: int) -> _Ships:
    """Give each layer a stretch of one long axis, so that one sort serves them all."""
    starts = runs[:, 0] + layer[owners] * size
    order = np.argsort(starts, kind="stable")
    area_px = np.bincount(owners, weights=runs[:, 1], minlength=len(layer)).astype(np.int64)
    ends = starts + runs[:, 1]
    return _Ships(area_px, starts[order], ends[order], owners[order])


def _intersections(true: _Ships, found: _Ships) -> _Pairs:
    # Runs of one side are disjoint, so those that meet a given run follow one another.
    first = np.searchsorted(true.ends, found.starts, side="right")
    last = np.searchsorted(true.starts, found.ends, side="left")
    counts = np.maximum(last - first, 0)
    theirs = np.repeat(np.arange(len(counts)), counts)
    ours = np.arange(len(theirs)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    shared = np.minimum(true.ends[ours], found.ends[theirs]) - np.maximum(
        true.starts[ours], found.starts[theirs]
    )
    n_found = max(len(found.area_px), 1)
    keys, index = np.unique(true.owners[ours] * n_found + found.owners[theirs], return_inverse=True)
    shared_px = np.bincount(index, weights=shared, minlength=len(keys)).astype(np.int64)
    return _Pairs(true.area_px, found.area_px, *np.divmod(keys, n_found), shared_px)


def _ship_table(
    layers: pd.Index, area_px: Integers, paired: Integers, iou: Floats, hits: Integers
) -> pd.DataFrame:
    best_iou, most_hits = np.zeros(len(area_px)), np.zeros(len(area_px), np.int64)
    np.maximum.at(best_iou, paired, iou)
    np.maximum.at(most_hits, paired, hits)
    columns = {"area_px": area_px, "best_iou": best_iou, "hits": most_hits}
    return layers.to_frame(index=False).assign(**columns)
