"""The competition's metric, exactly, from runs: two tables of ships enter, one F2 per image leaves.

Per image and IoU threshold t in {0.50, 0.55, ..., 0.95}: F2 = 5 TP / (5 TP + 4 FN + FP), where a
hit needs an IoU greater than t; the mean over the ten t is the image's score. No ship and none
predicted is 1; ships on one side alone are 0.

Two things make it cheap. Masks of one image never overlap, so above an IoU of 0.5 a ship has at
most one partner and hits need no assignment. And 5 TP + 4 FN + FP = 4 (TP + FN) + (TP + FP), which
does not depend on t: with `hits` the sum of TP over the ten t, the score is
hits / (2 (4 n_true + n_predicted)).

Source: the competition's evaluation page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.ships.rle import Runs, find_overlaps, parse_rows

__all__ = [
    "THRESHOLDS",
    "Matches",
    "f2_from_counts",
    "hits_from_areas",
    "match_ships",
    "pairwise_iou",
    "score_images",
]

THRESHOLDS = 10

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """What `match_ships` found.

    Attributes:
        images: `ImageId`, `n_true`, `n_predicted`, `f2`; one row per image, in the truth's order.
        true_ships: `ImageId`, `area_px`, `best_iou` (0 where nothing was predicted there), `hits`
            (at how many of the ten thresholds it is found); one row per true ship.
        predicted_ships: the same of the predicted ships, and `size_px`: the area that puts it into
            a size class, of the true ship it fits best, its own where it touches none.
    """

    images: pd.DataFrame
    true_ships: pd.DataFrame
    predicted_ships: pd.DataFrame


@dataclass(frozen=True)
class _Ships:
    """The ships of one table: their images and areas, and all runs on one axis, sorted."""

    image: Integers
    area_px: Integers
    starts: Integers
    ends: Integers
    owners: Integers


def score_images(
    truth: pd.DataFrame, predicted: pd.DataFrame, height: int, width: int
) -> pd.DataFrame:
    """Score a table of ships against the truth.

    Args:
        truth: Instances; see `pipeline.ships.instances`.
        predicted: Instances of the same images.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.

    Returns:
        `ImageId`, `n_true`, `n_predicted`, `f2`, one row per image in the truth's order.

    Raises:
        DataError: The tables are not of the same images, an RLE is illegal, or masks of one image
            share pixels.
    """
    return match_ships(truth, predicted, height, width).images


def match_ships(truth: pd.DataFrame, predicted: pd.DataFrame, height: int, width: int) -> Matches:
    """Score as `score_images` does, and say how well each ship was found."""
    ids = pd.Index(truth["ImageId"].unique())
    _check_same_images(ids, pd.Index(predicted["ImageId"].unique()))
    true_ships = _ships("truth", truth, ids, height, width)
    predicted_ships = _ships("prediction", predicted, ids, height, width)
    true, found, shared = _intersections(true_ships, predicted_ships)
    union = true_ships.area_px[true] + predicted_ships.area_px[found] - shared
    hits, iou = hits_from_areas(shared, union), shared / union

    n_true = np.bincount(true_ships.image, minlength=len(ids))
    n_predicted = np.bincount(predicted_ships.image, minlength=len(ids))
    image_hits = np.zeros(len(ids), np.int64)
    np.add.at(image_hits, true_ships.image[true], hits)
    f2 = f2_from_counts(image_hits, n_true, n_predicted)
    images = {"ImageId": ids, "n_true": n_true, "n_predicted": n_predicted, "f2": f2}

    size_px = predicted_ships.area_px.copy()
    best_last = np.lexsort((true, iou))
    size_px[found[best_last]] = true_ships.area_px[true[best_last]]
    return Matches(
        pd.DataFrame(images),
        _ship_table(ids, true_ships, true, iou, hits),
        _ship_table(ids, predicted_ships, found, iou, hits).assign(size_px=size_px),
    )


def hits_from_areas(intersection_px: Integers, union_px: Integers) -> Integers:
    """Count the thresholds t that an IoU is greater than, 0..10, in whole numbers.

    IoU > t is 20 intersection > 20 t union with 20 t in 10..19, and no rounding enters.
    """
    hits: Integers = np.clip(-(-20 * intersection_px // union_px) - 10, 0, THRESHOLDS)
    return hits


def f2_from_counts(
    hits: npt.ArrayLike, n_true: npt.ArrayLike, n_predicted: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return each image's score from its hits over the ten thresholds and its numbers of ships.

    Arrays of one shape, or numbers. 1 where both numbers are 0, 0 where only one is.
    """
    whole = 2 * (4 * np.asarray(n_true, np.int64) + np.asarray(n_predicted, np.int64))
    score: npt.NDArray[np.float64] = np.where(whole == 0, 1.0, hits / np.maximum(whole, 1))
    return score


def pairwise_iou(truth: Sequence[Runs], predicted: Sequence[Runs]) -> npt.NDArray[np.float64]:
    """Return the IoU of each true with each predicted mask of one image, (n_true, n_predicted).

    Masks of one side must not overlap; each has at least one run.
    """
    iou = np.zeros((len(truth), len(predicted)))
    if iou.size:
        sides = [
            _on_one_axis(
                np.concatenate(masks),
                np.repeat(np.arange(len(masks)), [len(runs) for runs in masks]),
                np.zeros(len(masks), np.int64),
                0,
            )
            for masks in (truth, predicted)
        ]
        true, found, shared = _intersections(*sides)
        union = sides[0].area_px[true] + sides[1].area_px[found] - shared
        iou[true, found] = shared / union
    return iou


def _check_same_images(truth: pd.Index, predicted: pd.Index) -> None:
    for name, ids in (
        ("missing from the prediction", truth.difference(predicted)),
        ("predicted but not in the truth", predicted.difference(truth)),
    ):
        if len(ids):
            first = ", ".join(map(str, ids[:5]))
            raise DataError(
                f"{len(ids)} of {len(truth)} images are {name}: {first}. Both tables must hold "
                "the same images; one without ships has a blank row."
            )


def _ships(name: str, frame: pd.DataFrame, ids: pd.Index, height: int, width: int) -> _Ships:
    ships = frame[frame["EncodedPixels"] != ""]
    image = ids.get_indexer(pd.Index(ships["ImageId"]))
    try:
        runs, owners = parse_rows(ships["EncodedPixels"].tolist(), height, width)
    except DataError as error:
        raise DataError(f"{name}, counting its ships from 0: {error}") from error
    table = _on_one_axis(runs, owners, image.astype(np.int64), height * width)
    shared = table.starts[1:] < table.ends[:-1]
    if shared.any():
        pairs = find_overlaps(table.starts, table.ends - table.starts, table.owners)
        raise DataError(
            f"{name}: {len(pairs)} pairs of masks share pixels, first in image "
            f"{ids[image[pairs[0, 0]]]}. The competition refuses such a file."
        )
    return table


def _on_one_axis(runs: Runs, owners: Integers, image: Integers, size: int) -> _Ships:
    """Give each image a stretch of one long axis, so that one sort serves all images."""
    starts = runs[:, 0] + image[owners] * size
    order = np.argsort(starts, kind="stable")
    area_px = np.bincount(owners, weights=runs[:, 1], minlength=len(image)).astype(np.int64)
    ends = starts + runs[:, 1]
    return _Ships(image, area_px, starts[order], ends[order], owners[order])


def _intersections(true: _Ships, predicted: _Ships) -> tuple[Integers, Integers, Integers]:
    """Find all pairs of ships that share pixels: index of both, and the area they share in px."""
    # Runs of one side are disjoint, so those that meet a given run follow one another.
    first = np.searchsorted(true.ends, predicted.starts, side="right")
    last = np.searchsorted(true.starts, predicted.ends, side="left")
    counts = np.maximum(last - first, 0)
    theirs = np.repeat(np.arange(len(counts)), counts)
    ours = np.arange(len(theirs)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    ends = np.minimum(true.ends[ours], predicted.ends[theirs])
    shared = ends - np.maximum(true.starts[ours], predicted.starts[theirs])
    pairs = true.owners[ours] * len(predicted.image) + predicted.owners[theirs]
    pairs, index = np.unique(pairs, return_inverse=True)
    area_px = np.bincount(index, weights=shared, minlength=len(pairs)).astype(np.int64)
    return *np.divmod(pairs, max(len(predicted.image), 1)), area_px


def _ship_table(
    ids: pd.Index,
    ships: _Ships,
    paired: Integers,
    iou: npt.NDArray[np.float64],
    hits: Integers,
) -> pd.DataFrame:
    best_iou, most_hits = np.zeros(len(ships.image)), np.zeros(len(ships.image), np.int64)
    np.maximum.at(best_iou, paired, iou)
    np.maximum.at(most_hits, paired, hits)
    return pd.DataFrame(
        {
            "ImageId": ids[ships.image],
            "area_px": ships.area_px,
            "best_iou": best_iou,
            "hits": most_hits,
        }
    )
