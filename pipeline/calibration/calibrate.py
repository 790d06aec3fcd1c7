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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.calibration.gain import Trial, try_rule
from pipeline.calibration.learn import Learnt, Lesson, learn_lessons
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
from pipeline.metrics.f2 import Matches, match_objects
from pipeline.metrics.summaries import summarise
from pipeline.selection.rules import AnyRules
from pipeline.selection.thresholds import Rules
from pipeline.selection.workers import Workers, workers
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
    """Rules for all folds and for each, and each image's F2 by the latter and by the former.

    `chosen` has the segments that rules of its fold submit of an image, where they are learnt.
    """

    rules: Some
    fold_rules: dict[int, Some]
    f2: Floats
    f2_in_sample: Floats
    chosen: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


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
    with workers(jobs) as those:
        first = MAX_LEVEL if learning is None else as_level(learning.levels[0])
        lowest = min(candidates.lowest, first)
        problem = Problem(maps, truth, (height, width), lowest, those)
        measured = problem.measure(list(candidates.separations))
        folds = np.unique(measured.folds).tolist()
        if len(folds) < 2:
            raise DataError(
                "calibration needs the maps of two folds or more, to choose rules on some and "
                f"score them on another; got {len(folds)}. Train and predict more folds."
            )
        scenes = [
            image_id if groups is None else groups[image_id] for image_id in measured.image_ids
        ]
        group = pd.factorize(np.array(scenes))[0].astype(np.int64)
        sums = f2_sums(measured, candidates, folds)
        plain, trials = _try_rules(measured, candidates, sums, folds, group=group, seed=seed)
        kept: _Fitted[Rules] | _Fitted[AnyRules] = plain
        if learning is not None:
            learnt = _learn(problem, measured, plain, learning, those, group=group, seed=seed)
            kept = _try_learnt(plain, *learnt, trials, group=group, seed=seed)
        instances = problem.objects(kept.fold_rules, kept.chosen)
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
    those: Workers,
    *,
    group: Integers,
    seed: int,
) -> tuple[_Fitted[AnyRules], _Fitted[AnyRules]]:
    """Learn which of the segments to select that each fold's plain rules cut, at every level.

    Returns:
        With the plain rules' image filter, and with the learnt one.
    """
    every = np.arange(len(group))
    images = [(every, every)]
    for fold in plain.fold_rules:
        held = measured.folds == fold
        images.append((np.flatnonzero(~held), np.flatnonzero(held)))
    rules = [plain.rules, *plain.fold_rules.values()]
    levels = [as_level(level) for level in learning.levels]
    tables: dict[tuple[Separation, ...], SegmentTable] = {}
    lessons = []
    for one, (learn_from, tried) in zip(rules, images, strict=True):
        cuts = tuple(replace(one.separation, threshold=level) for level in levels)
        if cuts not in tables:
            tables[cuts] = problem.segments(cuts)
        lessons.append(Lesson(cuts, tables[cuts], learn_from, tried))
    learn = partial(
        learn_lessons, n_true=measured.n_true, groups=group, learning=learning, seed=seed
    )
    parts = those.in_order(learn, lessons, chunk=1)
    learnt = [one for part in parts for one in part]
    plainly = [
        one and one.filtered_by(own, passes(measured, own))
        for own, one in zip(rules, learnt, strict=True)
    ]
    return _of_learnt(measured, plain, plainly), _of_learnt(measured, plain, learnt)


def _of_learnt(
    measured: Measured, plain: _Fitted[Rules], learnt: list[Learnt | None]
) -> _Fitted[AnyRules]:
    """Put together what was learnt on all folds and for each; where nothing was, plain rules."""
    nothing: Floats = (measured.n_true == 0).astype(np.float64)
    rules: list[AnyRules] = []
    f2: list[Floats] = []
    chosen: dict[int, tuple[int, ...]] = {}
    for own, one in zip([plain.rules, *plain.fold_rules.values()], learnt, strict=True):
        rules.append(own if one is None else one.selection)
        f2.append(
            image_f2(measured, own) if one is None else np.where(one.submitted, one.f2, nothing)
        )
    for one in filter(None, learnt[1:]):
        chosen |= one.chosen()
    fold_f2 = dict(zip(plain.fold_rules, f2[1:], strict=True))
    fold_rules = dict(zip(plain.fold_rules, rules[1:], strict=True))
    return _Fitted(rules[0], fold_rules, _held_out(measured.folds, fold_f2), f2[0], chosen)


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
