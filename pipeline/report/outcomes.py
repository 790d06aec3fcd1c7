"""Layer by layer, what became of the truth: found, missed, taken for an object, merged, split.

A layer is one class of one image. The truth and the out-of-fold objects enter as tables; one row
per layer leaves, and the score that was lost, divided among its causes to the last digit. No mask
is drawn and no map is read, so that 200,000 images take seconds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.metrics.iou import THRESHOLDS
from pipeline.metrics.matching import Matches, match_objects
from pipeline.metrics.metric import Floats, Integers, Metric, add_up, ratios, score
from pipeline.report.records import Records

LAYER = ["ImageId", "ClassId"]

# An object lies inside another, and was merged or split, if more than this share of it does.
INSIDE = 0.5


@dataclass(frozen=True)
class Outcomes:
    """What became of a run's layers.

    Attributes:
        matches: What they are judged by.
        layers: `matches.images` and of each layer `ClassId` ("" where classes are not told apart),
            `fold`, `group`, `score`, `largest_px` (of the true objects, else of the predicted
            ones), `missed_px` (area of the largest true object that no threshold finds), `merged`
            (predicted objects that hold several true ones), `split` (true objects that hold several
            predicted ones), `max_probability` (of the image's map; NaN where each has several).
    """

    matches: Matches
    layers: pd.DataFrame

    def lost(self) -> dict[str, float]:
        """Return how much of 1 - score each cause takes, by the names that `causes` explains.

        What a layer lacks of its denominator is divided by what it has missed and what it has made
        up, weighed as the metric does: a missed object takes from F2 what four false ones do. An
        object that is found at some IoU thresholds alone is missed and false at the others. Metrics
        of whole masks weigh pixels.
        """
        metric, layers, matches = self.matches.metric, self.layers, self.matches
        n_true, n_predicted = layers.n_true.to_numpy(), layers.n_predicted.to_numpy()
        if metric.of_objects:
            hits = matches.true_ships.hits.to_numpy()
            owners = owners_of(layers.n_true)
            found, hits_of_layer = add_up(np.stack([hits > 0, hits], axis=1), owners, len(layers)).T
            missed = THRESHOLDS * (n_true - found)
            false = THRESHOLDS * (n_predicted - found)
            loose = THRESHOLDS * found - hits_of_layer
        else:
            missed = (layers.true_px - layers.shared_px).to_numpy()
            false = (layers.predicted_px - layers.shared_px).to_numpy()
            loose = 0 * missed
        missed_weight, false_weight = _weights(metric)
        amounts = {
            "missed": missed_weight * missed,
            "false": false_weight * false,
            "outline": (missed_weight + false_weight) * loose,
        }
        whole = sum(amounts.values())
        both = (n_true > 0) & (n_predicted > 0) & (whole > 0)
        numerator, denominator = matches.terms
        lost = (denominator - numerator) / max(denominator.sum(), 1)
        shares = {
            "false_alarm": (n_true == 0) & (n_predicted > 0),
            "silenced": (n_true > 0) & (n_predicted == 0),
            **{
                cause: both * amount / np.where(both, whole, 1) for cause, amount in amounts.items()
            },
        }
        return {cause: float((lost * share).sum()) for cause, share in shares.items()}

    def over_iou(self, *, with_objects: bool) -> Floats:
        """Return the score at each single IoU threshold 0.50, 0.55, ..., 0.95, float64 (10,).

        Args:
            with_objects: Whether of layers with a true object alone.
        """
        metric, layers, found = self.matches.metric, self.layers, self.matches.predicted_ships
        chosen = layers.n_true.to_numpy() > (0 if with_objects else -1)
        hits, area_px, shared_px = (found[n].to_numpy() for n in ("hits", "area_px", "shared_px"))
        owners, curve = owners_of(layers.n_predicted), []
        for place in range(THRESHOLDS):
            parts = metric.parts(THRESHOLDS * (hits > place), area_px, shared_px)
            sums = add_up(parts, owners, len(layers))
            terms = metric.terms(sums, layers.n_true.to_numpy(), layers.true_px.to_numpy())
            curve.append(score(terms[:, chosen]))
        return np.array(curve, float)

    def partners(self) -> pd.DataFrame:
        """Return `true_px` and `predicted_px` of each true object and the one that fits it best."""
        matches = self.matches
        best = matches.overlaps.sort_values("shared_px").drop_duplicates("true", keep="last")
        return pd.DataFrame(
            {
                "true_px": matches.true_ships.area_px.to_numpy()[best.true],
                "predicted_px": matches.predicted_ships.area_px.to_numpy()[best.predicted],
            }
        )


def owners_of(counts: "pd.Series[int]") -> Integers:
    """Return the layer of each object, given the number of each layer's."""
    return np.repeat(np.arange(len(counts)), counts.to_numpy())


def causes(one: str, many: str, *, objects: bool) -> dict[str, str]:
    """Return why a score is lost, in words, by the names of `Outcomes.lost`."""
    if not objects:
        return {
            "false_alarm": "masks where there is nothing",
            "silenced": "no mask at all where there is one",
            "missed": "missed pixels of masks",
            "false": "false pixels of masks",
        }
    return {
        "false_alarm": "false alarms on empty images",
        "silenced": f"{one} images left without any {one}",
        "missed": f"missed {many} beside others",
        "false": f"false {many} in images with {many}",
        "outline": "found, but not well outlined",
    }


def outcomes_of(records: Records) -> Outcomes:
    """Score a run's out-of-fold objects.

    Raises:
        ArtifactError: A record is missing or damaged.
        DataError: The records are of different images.
    """
    metric = records.task.metric
    matches = match_objects(records.truth(), records.predicted(), records.mask_sizes(), metric)
    folds = records.read("split/folds.csv").set_index("ImageId")
    ids = matches.images.ImageId
    if not ids.isin(folds.index).all():
        raise DataError(f"{records.folder}/split/folds.csv: images of the truth are not in it.")
    known = {name: folds[name].reindex(ids).to_numpy() for name in ("fold", "group")}
    sure = np.nan if records.task.by_class else _max_probability(records).reindex(ids).to_numpy()
    return judge(matches, max_probability=sure, **known)


def judge(matches: Matches, **known: Any) -> Outcomes:  # noqa: ANN401  columns
    """Say what became of layers, of which more is `known`."""
    layers, pairs = matches.images, matches.overlaps
    true, predicted = (
        objects.assign(layer=owners_of(layers[count]))
        for objects, count in (
            (matches.true_ships, "n_true"),
            (matches.predicted_ships, "n_predicted"),
        )
    )
    merging = pairs.rename(columns={"predicted": "outer", "true": "inner"})
    splitting = pairs.rename(columns={"true": "outer", "predicted": "inner"})
    largest_px = _largest(true, layers)
    layers = layers.assign(
        ClassId=layers.get("ClassId", ""),
        score=ratios(matches.terms),
        largest_px=np.where(largest_px > 0, largest_px, _largest(predicted, layers)),
        missed_px=_largest(true[true.hits == 0], layers),
        merged=_holders(predicted, true, merging, layers),
        split=_holders(true, predicted, splitting, layers),
        **known,
    )
    return Outcomes(matches, layers)


def _weights(metric: Metric) -> tuple[float, float]:
    """Return what a missed and a false object weigh; of masks, what their pixels weigh.

    Beside one that is found, such an object brings the score from 1 to 1 / (1 + weight).
    """
    if not metric.of_objects:
        return 1.0, 1.0
    one, two = np.array([1]), np.array([2])
    found, false = metric.parts(THRESHOLDS * one, one, one), metric.parts(0 * one, one, 0 * one)
    scores = ratios(metric.terms(found, two, two)), ratios(metric.terms(found + false, one, one))
    missed_weight, false_weight = (1 / float(each[0]) - 1 for each in scores)
    return missed_weight, false_weight


def _largest(objects: pd.DataFrame, layers: pd.DataFrame) -> Integers:
    largest_px = np.zeros(len(layers), np.int64)
    np.maximum.at(largest_px, objects.layer.to_numpy(), objects.area_px.to_numpy())
    return largest_px


def _holders(
    outer: pd.DataFrame, inner: pd.DataFrame, pairs: pd.DataFrame, layers: pd.DataFrame
) -> Integers:
    """Count, layer by layer, objects of one side that hold several of the other.

    Args:
        outer: Objects of the one side.
        inner: Of the other.
        pairs: `outer`, `inner` and `shared_px` of those that share pixels.
        layers: All of them.
    """
    inside = pairs.shared_px > INSIDE * inner.area_px.to_numpy()[pairs.inner]
    held = np.bincount(pairs.outer[inside], minlength=len(outer))
    return np.bincount(outer.layer[held > 1], minlength=len(layers))


def _max_probability(records: Records) -> pd.Series:
    """Return the highest probability of each image's map, as far as indexes tell it."""
    indexes = records.folds("predict/oof", "index.csv").values()
    known = [index.set_index("ImageId").max_probability for index in indexes]
    values = pd.concat(known) if known else pd.Series(dtype=float)
    return values[~values.index.duplicated()]
