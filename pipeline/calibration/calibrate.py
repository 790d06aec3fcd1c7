"""Out-of-fold maps -> the rules that turn maps into objects, and the out-of-fold F2 they reach.

Every rule is chosen by the competition's metric itself. For the scores each fold's rules are
fitted on the other folds (cross-fitted); the rules for the test images are then fitted on all
folds. Rules are tried one after the other, the plainest first, and one stays only if it adds more
to that out-of-fold F2 than the standard error of what it adds.

What is learnt is two rules: candidate selection, the choice of segments in images that the filter
of the same fold's plain rules lets pass; then, in place of that filter, the learnt one. It looks at
nothing but what the choice promises, so where candidate selection alone does not stay, the two are
tried together.

Which rules stay, at most five choices between two, is the one thing decided on all folds, so to
this extent the printed F2 still flatters. A rule worth nothing, with a gain of normal error, stays
in one case of six, and on average lifts the F2 by a quarter (0.24) of its standard error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.calibration.gain import Trial, try_rule
from pipeline.calibration.learn import learn_selection
from pipeline.calibration.measure import SegmentTable
from pipeline.calibration.problem import Maps, Problem
from pipeline.calibration.search import (
    Measured,
    RuleGrid,
    best_rules,
    by_threshold,
    f2_sums,
    image_f2,
    passes,
)
from pipeline.config.calibration import CandidateSelection
from pipeline.errors import DataError
from pipeline.maps import MAX_LEVEL, as_level
from pipeline.metrics.f2 import Matches, f2_from_counts, match_objects
from pipeline.metrics.summaries import summarise
from pipeline.selection.candidates import LearntSelection, best_choice, expected_hits, head_of
from pipeline.selection.rules import AnyRules
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Some = TypeVar("Some", bound=AnyRules)


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        rules: Fitted on all folds, for the test images.
        fold_rules: For each fold, fitted on the others.
        trials: The rules that were tried, in order.
        scores: `metrics.summaries.summarise` of the cross-fitted objects, and `f2_in_sample`: the
            F2 of `rules` on the images they were fitted on, which flatters.
        instances: The cross-fitted out-of-fold objects, in the maps' order.
        matches: How they compare to the truth, object by object.
    """

    rules: AnyRules
    fold_rules: dict[int, AnyRules]
    trials: list[Trial]
    scores: dict[str, Any]
    instances: pd.DataFrame
    matches: Matches


@dataclass(frozen=True)
class _Fitted(Generic[Some]):
    """Rules for all folds and for each, and each image's F2 by the latter and by the former."""

    rules: Some
    fold_rules: dict[int, Some]
    f2: Floats
    f2_in_sample: Floats


def calibrate(
    maps: Maps,
    truth: pd.DataFrame,
    height: int,
    width: int,
    candidates: RuleGrid,
    *,
    learning: CandidateSelection | None = None,
    groups: Mapping[str, Any] | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Calibration:
    """Choose the rules by the competition's metric on out-of-fold maps.

    Args:
        maps: `(ImageId, fold, maps)` of every image, its maps made by the fold
            that did not train on the image, or None where it was not stored because nothing in it
            reaches any threshold. They are gone through once.
        truth: Instances of the same images.
        height: Image height in px.
        width: Image width in px.
        candidates: The values to choose from.
        learning: How to learn which segments to submit; None: not at all.
        groups: Scene of each image, for standard errors over scenes and for inner splits.
        seed: For the bootstrap and for learning.
        jobs: Processes to measure with.

    Raises:
        DataError: The maps are not of the truth's images, or of fewer than two folds.
        ArtifactError: A map has another size.
    """
    first = MAX_LEVEL if learning is None else as_level(learning.levels[0])
    lowest = min(candidates.lowest, first)
    problem = Problem(maps, truth, (height, width), lowest, jobs)
    measured = problem.measure(list(candidates.separations))
    folds = np.unique(measured.folds).tolist()
    if len(folds) < 2:
        raise DataError(
            f"calibration needs the maps of two folds or more, to choose rules on some and score "
            f"them on another; got {len(folds)}. Train and predict more folds."
        )
    scenes = [image_id if groups is None else groups[image_id] for image_id in measured.image_ids]
    group = pd.factorize(np.array(scenes))[0].astype(np.int64)
    sums = f2_sums(measured, candidates, folds)
    plain, trials = _try_rules(measured, candidates, sums, folds, group=group, seed=seed)
    kept: _Fitted[Rules] | _Fitted[AnyRules] = plain
    if learning is not None:
        learnt = _learn(problem, measured, plain, learning, group=group, seed=seed)
        kept = _try_learnt(plain, *learnt, trials, group=group, seed=seed)
    instances = problem.objects(kept.fold_rules)
    matches = match_objects(truth, instances, height, width)
    place = pd.Index(measured.image_ids).get_indexer(pd.Index(matches.images["ImageId"]))
    scores = summarise(matches, measured.folds[place], group[place])
    scores["f2_in_sample"] = float(kept.f2_in_sample.mean())
    scores["by_threshold"] = by_threshold(candidates, sums, len(measured.folds))
    return Calibration(kept.rules, {**kept.fold_rules}, trials, scores, instances, matches)


def _try_rules(
    measured: Measured,
    candidates: RuleGrid,
    sums: Floats,
    folds: list[int],
    *,
    group: Integers,
    seed: int,
) -> tuple[_Fitted[Rules], list[Trial]]:
    """Try what `candidates` offers beyond plain components and a least area."""
    methods = np.array([how.method != "components" for how in candidates.separations])
    allowed = np.zeros(sums.shape[:-1], np.bool_)
    allowed[~methods, :, 0, 0] = True
    fitted = _fit(measured, candidates, sums, folds, allowed)
    trials = []
    for rule in ("watershed", "image filter"):
        wider = allowed.copy()
        if rule == "watershed":
            wider[methods, :, 0, 0] = True
        else:
            wider[allowed.any(axis=(1, 2, 3))] = True
        if (wider == allowed).all():
            continue
        other = _fit(measured, candidates, sums, folds, wider)
        trials.append(try_rule(rule, other.f2, fitted.f2, group, seed))
        if trials[-1].kept:
            allowed, fitted = wider, other
    return fitted, trials


def _fit(
    measured: Measured,
    candidates: RuleGrid,
    sums: Floats,
    folds: list[int],
    allowed: npt.NDArray[np.bool_],
) -> _Fitted[Rules]:
    """Choose among the allowed rules, for all folds and for each fold by the others."""
    images = np.bincount(measured.folds, minlength=folds[-1] + 1)[folds]

    def best(chosen: list[int]) -> Rules:
        f2 = sums[..., chosen].sum(axis=-1) / images[chosen].sum()
        return best_rules(candidates, np.where(allowed, f2, -np.inf))

    places = range(len(folds))
    rules = best([*places])
    fold_rules = {}
    for place, fold in enumerate(folds):
        fold_rules[fold] = best([other for other in places if other != place])
    f2 = {fold: image_f2(measured, each) for fold, each in fold_rules.items()}
    return _Fitted(rules, fold_rules, _held_out(measured.folds, f2), image_f2(measured, rules))


def _learn(
    problem: Problem,
    measured: Measured,
    plain: _Fitted[Rules],
    learning: CandidateSelection,
    *,
    group: Integers,
    seed: int,
) -> tuple[_Fitted[AnyRules], _Fitted[AnyRules]]:
    """Learn which of the segments to select that each fold's plain rules cut, at every level.

    Returns:
        With the plain rules' image filter, and with the learnt one.
    """
    nothing: Floats = (measured.n_true == 0).astype(np.float64)
    tables: dict[tuple[Separation, ...], SegmentTable] = {}

    def learn(
        rules: Rules, learn_from: npt.NDArray[np.bool_], score: npt.NDArray[np.bool_]
    ) -> list[tuple[AnyRules, Floats]]:
        levels = map(as_level, learning.levels)
        cuts = tuple(replace(rules.separation, threshold=level) for level in levels)
        if cuts not in tables:
            tables[cuts] = problem.segments(cuts)
        selection = learn_selection(
            tables[cuts],
            np.flatnonzero(learn_from),
            measured.n_true,
            group,
            learning,
            cuts=cuts,
            seed=seed,
        )
        if selection is None:
            return [(rules, image_f2(measured, rules))] * 2
        scored = tables[cuts].of(np.flatnonzero(score))
        f2, submitted = _chosen_f2(selection, scored, measured.n_true)
        return [
            (
                replace(selection, image_filter=rules),
                np.where(passes(measured, rules), f2, nothing),
            ),
            (selection, np.where(submitted, f2, nothing)),
        ]

    every = np.ones(len(group), np.bool_)
    on_all = learn(plain.rules, every, every)
    of_fold = {
        fold: learn(rules, measured.folds != fold, measured.folds == fold)
        for fold, rules in plain.fold_rules.items()
    }

    def fitted(kind: int) -> _Fitted[AnyRules]:
        rules, f2_in_sample = on_all[kind]
        fold_rules = {fold: each[kind][0] for fold, each in of_fold.items()}
        f2 = _held_out(measured.folds, {fold: each[kind][1] for fold, each in of_fold.items()})
        return _Fitted(rules, fold_rules, f2, f2_in_sample)

    return fitted(0), fitted(1)


def _try_learnt(
    plain: _Fitted[Rules],
    chosen: _Fitted[AnyRules],
    filtered: _Fitted[AnyRules],
    trials: list[Trial],
    *,
    group: Integers,
    seed: int,
) -> _Fitted[Rules] | _Fitted[AnyRules]:
    """Return which of three stays, the last two from `_learn`; what was tried is appended."""
    kept: _Fitted[Rules] | _Fitted[AnyRules] = plain
    trials.append(try_rule("candidate selection", chosen.f2, plain.f2, group, seed))
    rule = "candidate selection and learnt image filter"
    if trials[-1].kept:
        kept, rule = chosen, "learnt image filter"
    trials.append(try_rule(rule, filtered.f2, kept.f2, group, seed))
    return filtered if trials[-1].kept else kept


def _held_out(folds: Integers, f2: Mapping[int, Floats]) -> Floats:
    """Return the F2 of each image by its fold's rules."""
    return np.select([folds == fold for fold in f2], list(f2.values()))


def _chosen_f2(
    selection: LearntSelection, table: SegmentTable, n_true: Integers
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the F2 of each image if its choice is submitted, and whether the learnt filter does.

    Segments that share pixels count as if they did not, images without segments as without objects
    found.
    """
    f2: Floats = (n_true == 0).astype(np.float64)
    submitted = np.zeros(len(n_true), np.bool_)
    hits = expected_hits(selection.trees, table.features, selection.min_area_px)
    for image, rows in table.rows_of.items():
        head = head_of(table.features[rows])
        choice = best_choice(hits[rows], table.parent[rows], selection.count, head)
        submitted[image] = bool(selection.decide(choice))
        chosen = list(choice.segments)
        if chosen:
            f2[image] = f2_from_counts(table.hits[rows][chosen].sum(), n_true[image], len(chosen))
    return f2, submitted
