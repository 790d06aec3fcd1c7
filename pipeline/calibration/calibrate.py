"""Out-of-fold maps -> the rules that turn maps into objects, and the out-of-fold score they reach.

Every rule is chosen by the metric in force, class by class. For the scores each fold's rules are
fitted on the other folds (cross-fitted); the rules for the test images are then fitted on all
folds. Rules are tried one after the other, the plainest first, and one stays only if it adds more
to that out-of-fold score than the standard error of what it adds.

What is learnt, for F2 alone, is two rules: candidate selection, the choice of segments in images
that the filter of the same fold's plain rules lets pass; then, in place of that filter, the learnt
one. It looks at nothing but what the choice promises, so where candidate selection alone does not
stay, the two are tried together.

Which rules stay, at most five choices between two, is the one thing decided on all folds, so to
this extent the printed score still flatters. A rule worth nothing, with a gain of normal error,
stays in one case of six, and on average lifts the score by a quarter (0.24) of its standard error.
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
    Sums,
    best_rules,
    by_threshold,
    image_sums,
    passes,
    score_sums,
)
from pipeline.config.calibration import CandidateSelection
from pipeline.errors import DataError
from pipeline.maps import as_level
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import Matches, match_objects
from pipeline.metrics.metric import Floats, Integers, Metric, ratios, score
from pipeline.metrics.summaries import summarise
from pipeline.selection.rules import AnyRules, rules_to_json
from pipeline.selection.thresholds import Rules
from pipeline.selection.workers import Workers, workers
from pipeline.separation.separate import Separation

Some = TypeVar("Some", bound=AnyRules)


@dataclass(frozen=True)
class Calibration:
    """What calibration found for one class.

    Attributes:
        rules: Fitted on all folds, for the test images.
        fold_rules: For each fold, fitted on the others.
        trials: The rules that were tried, in order.
        scores: `metrics.summaries.summarise` of the cross-fitted objects, and `f2_in_sample`: the
            score of `rules` on the images they were fitted on, which flatters.
        held_out: What `Metric.terms` takes to score the cross-fitted objects, in the maps' order.
        in_sample: What it takes to say the latter.
        instances: The cross-fitted out-of-fold objects, in the maps' order.
        matches: How they compare to the truth, object by object.
    """

    rules: AnyRules
    fold_rules: dict[int, AnyRules]
    trials: list[Trial]
    scores: dict[str, Any]
    held_out: Sums
    in_sample: Sums
    instances: pd.DataFrame
    matches: Matches

    def to_json(self) -> dict[str, Any]:
        """Return the rules and what was tried as a JSON object."""
        return {
            "rules": rules_to_json(self.rules),
            "cross_fitted": {
                str(fold): rules_to_json(rules) for fold, rules in self.fold_rules.items()
            },
            "tried": [trial.to_json(self.matches.metric.key) for trial in self.trials],
        }


@dataclass(frozen=True)
class _Fitted(Generic[Some]):
    """Rules for all folds and for each, and the sums of parts of what these find in each image.

    `sums` are those of each fold's rules on its images, `in_sample` those of the rules for all;
    `chosen` has the segments that rules of its fold submit of an image, where they are learnt.
    """

    rules: Some
    fold_rules: dict[int, Some]
    sums: Integers
    in_sample: Integers
    chosen: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def calibrate(
    maps: Maps,
    truth: pd.DataFrame,
    height: int,
    width: int,
    candidates: RuleGrid,
    *,
    metric: Metric,
    objects: bool = True,
    learning: CandidateSelection | None = None,
    groups: Mapping[str, Any] | None = None,
    beside: Sums | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Calibration:
    """Choose the rules of one class by the metric in force on out-of-fold maps.

    Args:
        maps: `(ImageId, fold, maps)` of every image, by the fold that did not train on it; None
            where nothing reaches any threshold. They are gone through once.
        truth: Instances of the same images, of the class.
        height: Image height in px.
        width: Image width in px.
        candidates: The values to choose from.
        metric: The metric in force.
        objects: See `pipeline.selection.submission.draw_instances`.
        learning: How to learn which segments to submit, where the metric is F2; None: not at all.
        groups: Scene of each image, for standard errors over scenes and for inner splits.
        beside: See `Measured`.
        seed: For the bootstrap and for learning.
        jobs: Processes to measure with.

    Raises:
        DataError: The maps are not of the truth's images, or of fewer than two folds.
        ArtifactError: A map has another size.
    """
    with workers(jobs) as those:
        levels = [candidates.lowest, *([] if learning is None else map(as_level, learning.levels))]
        problem = Problem(maps, truth, (height, width), min(levels), those, objects=objects)
        measured = problem.measure(list(candidates.separations), metric, beside)
        folds = _two_or_more(np.unique(measured.folds).tolist())
        ids = measured.image_ids
        scenes = ids if groups is None else [groups[image_id] for image_id in ids]
        group = pd.factorize(np.array(scenes))[0].astype(np.int64)
        sums = score_sums(measured, candidates, folds)
        plain, trials = _try_rules(measured, candidates, sums, folds, group=group, seed=seed)
        kept: _Fitted[Rules] | _Fitted[AnyRules] = plain
        if learning is not None:
            learnt = _learn(problem, measured, plain, learning, those, group=group, seed=seed)
            kept = _try_learnt(measured, plain, *learnt, trials, group=group, seed=seed)
        instances = problem.objects(kept.fold_rules, kept.chosen)
    matches = match_objects(truth, instances, height, width, metric)
    place = pd.Index(measured.image_ids).get_indexer(pd.Index(matches.images["ImageId"]))
    scores = summarise(matches, measured.folds[place], group[place])
    truths = measured.n_true, measured.true_px
    sides = (kept.sums, *truths), (kept.in_sample, *truths), instances, matches
    scores[f"{metric.key}_in_sample"] = score(metric.terms(*sides[1]))
    scores["by_threshold"] = by_threshold(candidates, sums, metric.key)
    return Calibration(kept.rules, {**kept.fold_rules}, trials, scores, *sides)


def _two_or_more(folds: list[int]) -> list[int]:
    if len(folds) < 2:
        raise DataError(
            "calibration needs the maps of two folds or more, to choose rules on some and "
            f"score them on another; got {len(folds)}. Train and predict more folds."
        )
    return folds


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
    allowed = np.zeros(sums.shape[1:-1], np.bool_)
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
        after, before = (measured.terms(each.sums) for each in (other, fitted))
        trials.append(try_rule(rule, after, before, group, seed))
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

    def best(chosen: list[int]) -> Rules:
        scores = ratios(sums[..., chosen].sum(axis=-1))
        return best_rules(candidates, np.where(allowed, scores, -np.inf))

    places = range(len(folds))
    rules = best([*places])
    fold_rules = {}
    for place, fold in enumerate(folds):
        fold_rules[fold] = best([other for other in places if other != place])
    of_fold = {fold: image_sums(measured, each) for fold, each in fold_rules.items()}
    held_out = _held_out(measured.folds, of_fold)
    return _Fitted(rules, fold_rules, held_out, image_sums(measured, rules))


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

    Raises:
        ValueError: The metric is another than F2.
    """
    if not isinstance(measured.metric, F2):
        raise ValueError(f"candidate selection is derived for F2 alone, got {measured.metric.key}")
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
    rules: list[AnyRules] = []
    sums: list[Integers] = []
    chosen: dict[int, tuple[int, ...]] = {}
    for own, one in zip([plain.rules, *plain.fold_rules.values()], learnt, strict=True):
        rules.append(own if one is None else one.selection)
        sums.append(image_sums(measured, own) if one is None else one.sums * one.submitted[:, None])
    for one in filter(None, learnt[1:]):
        chosen |= one.chosen()
    of_fold = dict(zip(plain.fold_rules, sums[1:], strict=True))
    fold_rules = dict(zip(plain.fold_rules, rules[1:], strict=True))
    return _Fitted(rules[0], fold_rules, _held_out(measured.folds, of_fold), sums[0], chosen)


def _try_learnt(
    measured: Measured,
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
    before, after, last = (measured.terms(each.sums) for each in (plain, chosen, filtered))
    trials.append(try_rule("candidate selection", after, before, group, seed))
    rule = "candidate selection and learnt image filter"
    if trials[-1].kept:
        kept, before, rule = chosen, after, "learnt image filter"
    trials.append(try_rule(rule, last, before, group, seed))
    return filtered if trials[-1].kept else kept


def _held_out(folds: Integers, sums: Mapping[int, Integers]) -> Integers:
    """Return the sums of each image by its fold's rules."""
    return np.select([(folds == fold)[:, None] for fold in sums], list(sums.values()))
