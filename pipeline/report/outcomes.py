"""Image by image, what became of the truth: found, missed, taken for an object, merged, split.

The truth and the out-of-fold objects enter as tables; one row per image leaves, and the F2 that was
lost, divided among its causes to the last digit. No mask is drawn and no map is read, so that
200,000 images take seconds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.metrics.f2 import F2, f2_from_counts
from pipeline.metrics.iou import THRESHOLDS
from pipeline.metrics.matching import Matches, match_objects
from pipeline.report.records import Records

# An object lies inside another, and was merged or split, if more than this share of it does.
INSIDE = 0.5

CAUSES = {
    "false_alarm": "false alarms on empty images",
    "silenced": "ship images left without any ship",
    "missed": "missed objects beside others",
    "false_ship": "false objects in images with objects",
    "outline": "found, but not well outlined",
}
"""Why F2 is lost, in the order of the page."""


@dataclass(frozen=True)
class Outcomes:
    """What became of a run's images.

    Attributes:
        images: One row per image: `ImageId`, `fold`, `group`, `n_true`, `n_predicted`, `f2`,
            `largest_px` (of the true objects, else of the predicted ones), `missed_px` (area of the
            largest true object that no threshold finds), `merged` (predicted objects that hold
            several true ones), `split` (true objects that hold several predicted ones),
            `max_probability`.
        matches: The objects behind it.
        height: Of every image, px.
        width: The same.
    """

    images: pd.DataFrame
    matches: Matches
    height: int
    width: int

    def lost(self) -> dict[str, float]:
        """Return how much of 1 - F2 each of `CAUSES` takes; they add up to 1 - F2.

        With hits h of a found object, 2 (4 n_true + n_predicted) - sum h, which is what an image
        lacks of its whole, is 8 for a missed object, 2 for a false one and 10 - h for a found one.
        """
        images, true = self.images, self.matches.true_ships
        n_true, n_predicted = images.n_true.to_numpy(), images.n_predicted.to_numpy()
        image = pd.Index(images.ImageId).get_indexer(pd.Index(true.ImageId))
        hits = np.bincount(image, weights=true.hits, minlength=len(images))
        found = np.bincount(image, weights=true.hits > 0, minlength=len(images))
        both = (n_true > 0) & (n_predicted > 0)
        whole = np.maximum(2 * (4 * n_true + n_predicted), 1)
        lost = {
            "false_alarm": (n_true == 0) & (n_predicted > 0),
            "silenced": (n_true > 0) & (n_predicted == 0),
            "missed": both * 8 * (n_true - found) / whole,
            "false_ship": both * 2 * (n_predicted - found) / whole,
            "outline": both * (10 * found - hits) / whole,
        }
        return {cause: float(lost[cause].mean()) for cause in CAUSES}

    def f2_over_iou(self, *, ships_only: bool) -> npt.NDArray[np.float64]:
        """Return the mean F2 at each single IoU threshold 0.50, 0.55, ..., 0.95, float64 (10,)."""
        images, true = self.images, self.matches.true_ships
        chosen = images.n_true.to_numpy() > (0 if ships_only else -1)
        image = pd.Index(images.ImageId).get_indexer(pd.Index(true.ImageId))
        curve = []
        for place in range(THRESHOLDS):
            tp = np.bincount(image, weights=true.hits > place, minlength=len(images))
            f2 = f2_from_counts(THRESHOLDS * tp, images.n_true, images.n_predicted)
            curve.append(f2[chosen].mean() if chosen.any() else np.nan)
        return np.array(curve)


def outcomes_of(records: Records) -> Outcomes:
    """Score a run's out-of-fold objects.

    Raises:
        ArtifactError: A record is missing or damaged.
        DataError: The records are of different images.
    """
    catalog = records.read("data/catalog.json")
    shape = int(catalog["height"]), int(catalog["width"])
    truth, predicted = (
        records.read("data/instances.csv"),
        records.read("calibrate/oof_instances.csv"),
    )
    matches = match_objects(truth, predicted, *shape, F2())
    ids = pd.Index(matches.images.ImageId)
    folds = records.read("split/folds.csv").set_index("ImageId")
    if not ids.isin(folds.index).all():
        raise DataError(f"{records.folder}/split/folds.csv: images of the truth are not in it.")
    images = matches.images.assign(
        fold=folds.fold.reindex(ids).to_numpy(),
        group=folds.group.reindex(ids).to_numpy(),
        largest_px=_largest(ids, matches),
        missed_px=_largest_of(ids, matches.true_ships[matches.true_ships.hits == 0]),
        max_probability=_max_probability(records, ids),
        **_merged_and_split(ids, matches),
    )
    return Outcomes(images, matches, *shape)


def _largest(ids: pd.Index, matches: Matches) -> npt.NDArray[np.int64]:
    true = _largest_of(ids, matches.true_ships)
    return np.where(true > 0, true, _largest_of(ids, matches.predicted_ships))


def _largest_of(ids: pd.Index, objects: pd.DataFrame) -> npt.NDArray[np.int64]:
    largest_px = np.zeros(len(ids), np.int64)
    np.maximum.at(
        largest_px, ids.get_indexer(pd.Index(objects.ImageId)), objects.area_px.to_numpy()
    )
    return largest_px


def _merged_and_split(ids: pd.Index, matches: Matches) -> dict[str, npt.NDArray[np.int64]]:
    """Count, image by image, objects of one side that hold several of the other."""
    pairs, counts = matches.overlaps, {}
    for name, inner, outer in (("merged", "true", "predicted"), ("split", "predicted", "true")):
        objects = {"true": matches.true_ships, "predicted": matches.predicted_ships}
        inside = pairs.shared_px > INSIDE * objects[inner].area_px.to_numpy()[pairs[inner]]
        held = np.bincount(pairs[outer][inside], minlength=len(objects[outer]))
        owners = ids.get_indexer(pd.Index(objects[outer].ImageId[held > 1]))
        counts[name] = np.bincount(owners, minlength=len(ids))
    return counts


def _max_probability(records: Records, ids: pd.Index) -> npt.NDArray[np.float64]:
    """Return the highest probability of each image's map, NaN where no index tells it."""
    indexes = records.folds("predict/oof", "index.csv").values()
    known = [index.set_index("ImageId").max_probability for index in indexes]
    if not known:
        return np.full(len(ids), np.nan)
    values = pd.concat(known)
    sure: npt.NDArray[np.float64] = (
        values[~values.index.duplicated()].reindex(ids).to_numpy(np.float64)
    )
    return sure
