"""Out-of-fold maps -> the rules that turn maps into ships, and the honest F2 they reach.

Every rule is chosen by the competition's metric itself. For the scores each fold's rules are
fitted on the other folds (cross-fitted), so that no image has a say in how it is treated; the
rules for the test images are then fitted on all folds.

The search looks at each map once (`pipeline.ships.measure`). After that a rule's F2 is a sum over
components, and all gates of a minimum area cost one two-dimensional histogram.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import ArtifactError, DataError
from pipeline.ships.instances import COLUMNS
from pipeline.ships.measure import (
    Found,
    chunks,
    in_order,
    measure_chunk,
    part_of,
)
from pipeline.ships.metric import Matches, f2_from_counts, match_ships
from pipeline.ships.rle import encode_labels
from pipeline.ships.rules import Rules, find_ships
from pipeline.ships.scores import summarise
from pipeline.ships.separate import Connectivity, ImageMaps, Separation

__all__ = ["Calibration", "Candidates", "Maps", "calibrate"]

Maps = Iterable[tuple[str, int, ImageMaps | None]]

CHUNK_MAPS = 32

# Scores that differ by less are equal but for the order of summation.
TIE = 1e-9


@dataclass(frozen=True)
class Candidates:
    """The values each rule may take, in the units of `pipeline.ships.rules.Rules`; all ascending.

    The gates' first value is 0, which is no gate.
    """

    thresholds: tuple[int, ...]
    connectivities: tuple[Connectivity, ...]
    min_areas_px: tuple[int, ...]
    gate_probs: tuple[int, ...] = (0, 96, 128, 160, 192, 208, 224, 232, 240, 248, 252)
    gate_areas_px: tuple[int, ...] = (0, 20, 40, 60, 80, 120, 160, 240)

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"{name}: expected at least one value, ascending, got {values}")
        if self.gate_probs[0] != 0 or self.gate_areas_px[0] != 0:
            raise ValueError("gate_probs and gate_areas_px must start with 0, which is no gate")
        for place in product(*(sorted({0, len(v) - 1}) for v in vars(self).values())):
            self.rules(place)

    def rules(self, place: tuple[int, ...]) -> Rules:
        """Return the rules at one place of the grid."""
        values = zip(vars(self).values(), place, strict=True)
        threshold, connectivity, *others = (candidates[i] for candidates, i in values)
        return Rules(Separation("components", threshold, connectivity), *others)


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        rules: Fitted on all folds, for the test images.
        fold_rules: For each fold, fitted on the others.
        scores: `pipeline.ships.scores.summarise` of the cross-fitted ships, and `f2_in_sample`:
            the F2 of `rules` on the images they were fitted on, which flatters.
        instances: The cross-fitted out-of-fold ships, in the maps' order.
        matches: How they compare to the truth, ship by ship.
    """

    rules: Rules
    fold_rules: dict[int, Rules]
    scores: dict[str, Any]
    instances: pd.DataFrame
    matches: Matches


@dataclass(frozen=True)
class _Measured:
    """All maps, measured; the arrays have one entry per image."""

    image_ids: list[str]
    folds: npt.NDArray[np.int64]
    n_true: npt.NDArray[np.int64]
    max_prob: npt.NDArray[np.int64]
    found: dict[Separation, Found]


def calibrate(
    maps: Maps,
    truth: pd.DataFrame,
    height: int,
    width: int,
    candidates: Candidates,
    *,
    groups: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> Calibration:
    """Choose the rules by the competition's metric on out-of-fold maps.

    Args:
        maps: `(ImageId, fold, maps)` of every image, its maps made by the fold
            that did not train on the image, or None where it was not stored because nothing in it
            reaches any threshold. It is gone through twice, so it must not be an iterator.
        truth: Instances of the same images.
        height: Image height in px.
        width: Image width in px.
        candidates: The values to choose from.
        groups: Scene of each image, for standard errors over scenes.
        jobs: Processes to measure with.

    Raises:
        DataError: The maps are not of the truth's images, or of fewer than two folds.
        ArtifactError: A map has another size.
    """
    if iter(maps) is maps:
        raise ValueError("maps is gone through twice: give a list or an object with __iter__")
    measured = _measure_all(maps, truth, (height, width), candidates, jobs)
    folds = np.unique(measured.folds).tolist()
    if len(folds) < 2:
        raise DataError(
            f"calibration needs the maps of two folds or more, to choose rules on some and score "
            f"them on another; got {len(folds)}. Train and predict more folds."
        )
    f2_sums = _f2_sums(measured, candidates, folds)
    images = np.bincount(measured.folds, minlength=folds[-1] + 1)[folds]
    best = _best(f2_sums.sum(axis=-1) / images.sum())
    fold_rules = {}
    for index, fold in enumerate(folds):
        others = np.delete(f2_sums, index, axis=-1).sum(axis=-1)
        fold_rules[fold] = candidates.rules(_best(others / np.delete(images, index).sum()))
    instances = _apply(maps, fold_rules, jobs)
    matches = match_ships(truth, instances, height, width)
    of_image = dict(zip(measured.image_ids, measured.folds.tolist(), strict=True))
    image_ids = matches.images["ImageId"]
    scores = summarise(
        matches,
        np.array([of_image[image_id] for image_id in image_ids]),
        None if groups is None else np.array([groups[image_id] for image_id in image_ids]),
    )
    scores["f2_in_sample"] = float(f2_sums.sum(axis=-1)[best] / images.sum())
    return Calibration(candidates.rules(best), fold_rules, scores, instances, matches)


def _measure_all(
    maps: Maps,
    truth: pd.DataFrame,
    shape: tuple[int, int],
    candidates: Candidates,
    jobs: int,
) -> _Measured:
    ships = truth[truth["EncodedPixels"] != ""]
    texts = ships.groupby("ImageId")["EncodedPixels"].apply(list).to_dict()
    image_ids: list[str] = []
    folds: list[int] = []
    max_prob: list[int] = []

    def parts() -> Iterable[Any]:
        for image_id, fold, of_image in maps:
            image_ids.append(image_id)
            folds.append(fold)
            max_prob.append(0 if of_image is None else int(of_image.prob_hw.max()))
            if of_image is None:
                continue
            if of_image.prob_hw.shape != shape:
                raise ArtifactError(
                    f"the map of {image_id}: expected {shape[0]}x{shape[1]} px, the size of the "
                    f"images, got {of_image.prob_hw.shape}. Predict again."
                )
            true = texts.get(image_id, [])
            part = part_of(len(image_ids) - 1, of_image, true, candidates.thresholds[0])
            if part is not None:
                yield part

    separations = [
        Separation("components", threshold, connectivity)
        for threshold, connectivity in product(candidates.thresholds, candidates.connectivities)
    ]
    measure = partial(measure_chunk, separations=separations)
    results = list(in_order(measure, chunks(parts(), CHUNK_MAPS), jobs))
    found = {one: Found.joined(result[one] for result in results) for one in separations}
    _check_images(image_ids, set(truth["ImageId"]))
    n_true = np.array([len(texts.get(image_id, [])) for image_id in image_ids])
    return _Measured(image_ids, np.array(folds), n_true, np.array(max_prob), found)


def _check_images(image_ids: list[str], true_ids: set[str]) -> None:
    for problem, wrong in (
        ("images have no map", true_ids - set(image_ids)),
        ("maps are of images that the truth does not list", set(image_ids) - true_ids),
    ):
        if wrong:
            first = ", ".join(sorted(wrong)[:5])
            raise DataError(f"{len(wrong)} {problem}: {first}. Predict all images of all folds.")
    if len(image_ids) != len(true_ids):
        raise DataError(f"{len(image_ids) - len(true_ids)} images have more than one map.")


def _f2_sums(
    measured: _Measured, candidates: Candidates, folds: list[int]
) -> npt.NDArray[np.float64]:
    """Return the sum of F2 over each fold's images for every set of rules.

    Shape: one axis per field of `Candidates`, in its order, and the folds last.
    """
    fold = np.searchsorted(folds, measured.folds)
    empty = (measured.n_true == 0).astype(np.float64)
    without_ships = np.bincount(fold, weights=empty)
    gates = (len(candidates.gate_probs), len(candidates.gate_areas_px))
    shape = [len(values) for values in vars(candidates).values()]
    sums = np.empty((*shape, len(folds)))
    passed_prob = np.searchsorted(candidates.gate_probs, measured.max_prob, side="right") - 1
    for (t, threshold), (c, connectivity) in product(
        enumerate(candidates.thresholds), enumerate(candidates.connectivities)
    ):
        found = measured.found[Separation("components", threshold, connectivity)]
        largest_px = np.zeros(len(fold), np.int64)
        np.maximum.at(largest_px, found.image, found.area_px)
        passed_area = np.searchsorted(candidates.gate_areas_px, largest_px, side="right") - 1
        for a, min_area_px in enumerate(candidates.min_areas_px):
            kept = found.area_px >= min_area_px
            count = np.bincount(found.image[kept], minlength=len(fold))
            hits = np.bincount(found.image[kept], weights=found.hits[kept], minlength=len(fold))
            images = np.flatnonzero(count)
            f2 = f2_from_counts(hits[images], measured.n_true[images], count[images])
            # What an image gains over no ships, at the strictest gates it passes; a gate's gain is
            # that of all images at its place or a stricter one.
            gain = np.zeros((*gates, len(folds)))
            at = (passed_prob[images], passed_area[images], fold[images])
            np.add.at(gain, at, f2 - empty[images])
            for axis in (0, 1):
                gain = np.flip(np.flip(gain, axis).cumsum(axis), axis)
            sums[t, c, a] = gain + without_ships
    return sums


def _best(f2: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Return the place of the best rules; of equally good ones the plainest, then the middle.

    A gate that gains nothing is off. Among equal thresholds and areas the middle one is farthest
    from where the score falls.
    """
    tied = np.argwhere(f2 >= f2.max() - TIE)
    threshold, connectivity, area, gate_prob, gate_area = range(5)
    for axis in (gate_prob, gate_area, connectivity, threshold, area):
        values = np.unique(tied[:, axis])
        middle = values[(len(values) - 1) // 2]
        if values[0] == 0 and axis in {gate_prob, gate_area, connectivity}:
            middle = values[0]
        tied = tied[tied[:, axis] == middle]
    return tuple(tied[0].tolist())


def _apply(maps: Maps, fold_rules: dict[int, Rules], jobs: int) -> pd.DataFrame:
    find = partial(_find_chunk, fold_rules=fold_rules)
    rows = [row for chunk in in_order(find, chunks(maps, CHUNK_MAPS), jobs) for row in chunk]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def _find_chunk(
    items: list[tuple[str, int, ImageMaps | None]], fold_rules: dict[int, Rules]
) -> list[tuple[str, str]]:
    rows = []
    for image_id, fold, of_image in items:
        labels_hw = find_ships(of_image, fold_rules[fold])
        texts = [""] if labels_hw is None else encode_labels(labels_hw)
        rows += [(image_id, text) for text in texts]
    return rows
