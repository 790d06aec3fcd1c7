"""The competition's metric, exactly, from runs: one F2 per image of two tables of objects.

Per image and IoU threshold t in {0.50, 0.55, ..., 0.95}: F2 = 5 TP / (5 TP + 4 FN + FP), where a
hit needs an IoU greater than t; the mean over the ten t is the image's score. No object and none
predicted is 1; objects on one side alone are 0.

Two things make it cheap. Masks of one image never overlap, so above an IoU of 0.5 an object has at
most one partner and hits need no assignment. And 5 TP + 4 FN + FP = 4 (TP + FN) + (TP + FP), which
does not depend on t: with `hits` the sum of TP over the ten t, the score is
hits / (2 (4 n_true + n_predicted)).

Source: the competition's evaluation page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.masks.rle import Labels, Runs, find_overlaps, parse_rows

THRESHOLDS = 10

# Images scored at once: their runs stay in the processor's cache. The whole competition at once
# took three times the time and half a GiB more.
BLOCK_IMAGES = 2048

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """What `match_objects` found.

    Attributes:
        images: `ImageId`, `n_true`, `n_predicted`, `f2`; one row per image, in the truth's order.
        true_ships: `ImageId`, `area_px`, `best_iou` (0 where nothing was predicted there), `hits`
            (at how many of the ten thresholds it is found); one row per true object, in the images'
            order.
        predicted_ships: the same of the predicted objects, and `size_px`: the area that puts it
            into a size class, of the true object it fits best, its own where it touches none.
        overlaps: `true`, `predicted` (rows of the tables above) and `shared_px`; one row per pair
            of objects that share pixels.
    """

    images: pd.DataFrame
    true_ships: pd.DataFrame
    predicted_ships: pd.DataFrame
    overlaps: pd.DataFrame


@dataclass(frozen=True)
class _Ships:
    """The objects of one table: their areas, and all their runs on one axis, sorted."""

    area_px: Integers
    starts: Integers
    ends: Integers
    owners: Integers


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
        """Put blocks of images one after the other."""
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


def score_images(
    truth: pd.DataFrame, predicted: pd.DataFrame, height: int, width: int
) -> pd.DataFrame:
    """Score a table of objects against the truth.

    Args:
        truth: Instances; see `pipeline.masks.instances`.
        predicted: Instances of the same images.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.

    Returns:
        `ImageId`, `n_true`, `n_predicted`, `f2`, one row per image in the truth's order.

    Raises:
        DataError: The tables are not of the same images, an RLE is illegal, or masks of one image
            share pixels.
    """
    return match_objects(truth, predicted, height, width).images


def match_objects(truth: pd.DataFrame, predicted: pd.DataFrame, height: int, width: int) -> Matches:
    """Score as `score_images` does, and say how well each object was found."""
    ids = pd.Index(truth["ImageId"].unique())
    _check_same_images(ids, pd.Index(predicted["ImageId"].unique()))
    true_image, true_texts = _ship_rows(truth, ids)
    found_image, found_texts = _ship_rows(predicted, ids)
    firsts = np.arange(0, max(len(ids), 1) + BLOCK_IMAGES, BLOCK_IMAGES)
    true_rows = pairwise(np.searchsorted(true_image, firsts).tolist())
    found_rows = pairwise(np.searchsorted(found_image, firsts).tolist())
    blocks = []
    for (start, end), (found_start, found_end) in zip(true_rows, found_rows, strict=True):
        true_ships, found_ships = (
            _ships(name, image[rows], texts[rows], ids, height=height, width=width)
            for name, image, texts, rows in (
                ("truth", true_image, true_texts, slice(start, end)),
                ("prediction", found_image, found_texts, slice(found_start, found_end)),
            )
        )
        blocks.append(_intersections(true_ships, found_ships))
    return _matches(ids, true_image, found_image, _Pairs.joined(blocks))


def _matches(ids: pd.Index, true_image: Integers, found_image: Integers, pairs: _Pairs) -> Matches:
    iou = pairs.shared_px / pairs.union_px
    hits = hits_from_areas(pairs.shared_px, pairs.union_px)
    n_true = np.bincount(true_image, minlength=len(ids))
    n_predicted = np.bincount(found_image, minlength=len(ids))
    image_hits = np.zeros(len(ids), np.int64)
    np.add.at(image_hits, true_image[pairs.true], hits)
    f2 = f2_from_counts(image_hits, n_true, n_predicted)
    images = {"ImageId": ids, "n_true": n_true, "n_predicted": n_predicted, "f2": f2}

    size_px = pairs.found_area_px.copy()
    best_last = np.lexsort((pairs.true, iou))
    size_px[pairs.found[best_last]] = pairs.true_area_px[pairs.true[best_last]]
    true_ships = _ship_table(ids[true_image], pairs.true_area_px, pairs.true, iou, hits)
    found_ships = _ship_table(ids[found_image], pairs.found_area_px, pairs.found, iou, hits)
    overlaps = {"true": pairs.true, "predicted": pairs.found, "shared_px": pairs.shared_px}
    found_ships = found_ships.assign(size_px=size_px)
    return Matches(pd.DataFrame(images), true_ships, found_ships, pd.DataFrame(overlaps))


def score_labels(true_hw: Labels, found_hw: Labels) -> float:
    """Score one image as `score_images` does, from maps: 0 for background, 1..n for n objects."""
    n_true, n_found = int(true_hw.max(initial=0)), int(found_hw.max(initial=0))
    pairs = true_hw.astype(np.int64) * (n_found + 1) + found_hw
    size = (n_true + 1) * (n_found + 1)
    shared = np.bincount(pairs.ravel(), minlength=size).reshape(-1, n_found + 1)
    true_px, found_px = shared.sum(axis=1)[1:], shared.sum(axis=0)[1:]
    hits = hits_from_areas(shared[1:, 1:], true_px[:, None] + found_px - shared[1:, 1:])
    return float(f2_from_counts(hits.sum(), n_true, n_found))


def hits_from_areas(intersection_px: Integers, union_px: Integers) -> Integers:
    """Count the thresholds t that an IoU is greater than, 0..10, in whole numbers.

    IoU > t is 20 intersection > 20 t union with 20 t in 10..19, and no rounding enters.
    """
    hits: Integers = np.clip(-(-20 * intersection_px // union_px) - 10, 0, THRESHOLDS)
    return hits


def f2_from_counts(
    hits: npt.ArrayLike, n_true: npt.ArrayLike, n_predicted: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return each image's score from its hits over the ten thresholds and its numbers of objects.

    Arrays of one shape, or numbers. 1 where both numbers are 0, 0 where only one is.
    """
    whole = 2 * (4 * np.asarray(n_true, np.int64) + np.asarray(n_predicted, np.int64))
    score: npt.NDArray[np.float64] = np.where(whole == 0, 1.0, hits / np.maximum(whole, 1))
    return score


def _check_same_images(truth: pd.Index, predicted: pd.Index) -> None:
    for name, ids in (
        ("missing from the prediction", truth.difference(predicted)),
        ("predicted but not in the truth", predicted.difference(truth)),
    ):
        if len(ids):
            first = ", ".join(map(str, ids[:5]))
            raise DataError(
                f"{len(ids)} of {len(truth)} images are {name}: {first}. Both tables must hold "
                "the same images; one without objects has a blank row."
            )


def _ship_rows(frame: pd.DataFrame, ids: pd.Index) -> tuple[Integers, list[str]]:
    """Return the image and the text of each object, in the images' order."""
    objects = frame[frame["EncodedPixels"] != ""]
    image = ids.get_indexer(pd.Index(objects["ImageId"])).astype(np.int64)
    order = np.argsort(image, kind="stable")
    return image[order], objects["EncodedPixels"].iloc[order].tolist()


def _ships(
    name: str, image: Integers, encoded: list[str], ids: pd.Index, *, height: int, width: int
) -> _Ships:
    try:
        runs, owners = parse_rows(encoded, height, width)
    except DataError as error:
        of = f"images {ids[image[0]]} to {ids[image[-1]]}"
        raise DataError(f"{name}, {of}, counting their objects from 0: {error}") from error
    objects = _on_one_axis(runs, owners, image, height * width)
    if (objects.starts[1:] < objects.ends[:-1]).any():
        pairs = find_overlaps(objects.starts, objects.ends - objects.starts, objects.owners)
        raise DataError(
            f"{name}: masks share pixels, first in image {ids[image[pairs[0, 0]]]}. The "
            "competition refuses such a file."
        )
    return objects


def _on_one_axis(runs: Runs, owners: Integers, image: Integers, size: int) -> _Ships:
    """Give each image a stretch of one long axis, so that one sort serves all images."""
    starts = runs[:, 0] + image[owners] * size
    order = np.argsort(starts, kind="stable")
    area_px = np.bincount(owners, weights=runs[:, 1], minlength=len(image)).astype(np.int64)
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
    image_ids: pd.Index,
    area_px: Integers,
    paired: Integers,
    iou: npt.NDArray[np.float64],
    hits: Integers,
) -> pd.DataFrame:
    best_iou, most_hits = np.zeros(len(area_px)), np.zeros(len(area_px), np.int64)
    np.maximum.at(best_iou, paired, iou)
    np.maximum.at(most_hits, paired, hits)
    columns = {"ImageId": image_ids, "area_px": area_px, "best_iou": best_iou, "hits": most_hits}
    return pd.DataFrame(columns)
