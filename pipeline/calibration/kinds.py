"""The kinds of rule, each tried in its turn and kept if it gains; `calibrate` has the order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.calibration.gain import Trial, try_rule
from pipeline.calibration.learn import Learnt, Lesson, learn_lessons
from pipeline.calibration.measure import SegmentTable
from pipeline.calibration.problem import Problem
from pipeline.calibration.search import Measured, RuleGrid, best_rules, image_sums, passes
from pipeline.config.calibration import CandidateSelection
from pipeline.maps import as_level
from pipeline.metrics.f2 import F2
from pipeline.metrics.metric import Floats, Integers, ratios
from pipeline.selection.rules import AnyRules
from pipeline.selection.thresholds import NOTHING, Rules
from pipeline.selection.workers import Workers
from pipeline.separation.separate import Separation

Some = TypeVar("Some", bound=AnyRules)


@dataclass(frozen=True)
class Fitted(Generic[Some]):
    """Rules for all folds and for each, and the sums of parts of what these find in each image.

    `sums` are those of each fold's rules on its images, `in_sample` those of the rules for all;
    `chosen` has the segments that rules of its fold submit of an image, where they are learnt.
    """

    rules: Some
    fold_rules: dict[int, Some]
    sums: Integers
    in_sample: Integers
    chosen: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def try_rules(
    measured: Measured,
    candidates: RuleGrid,
    sums: Floats,
    folds: list[int],
    *,
    group: Integers,
    seed: int,
) -> tuple[Fitted[Rules], list[Trial]]:
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
) -> Fitted[Rules]:
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
    return Fitted(rules, fold_rules, held_out, image_sums(measured, rules))


def learn(
    problem: Problem,
    measured: Measured,
    plain: Fitted[Rules],
    learning: CandidateSelection,
    those: Workers,
    *,
    group: Integers,
    seed: int,
) -> tuple[Fitted[AnyRules], Fitted[AnyRules]]:
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
    learn_some = partial(
        learn_lessons, n_true=measured.n_true, groups=group, learning=learning, seed=seed
    )
    parts = those.in_order(learn_some, lessons, chunk=1)
    learnt = [one for part in parts for one in part]
    plainly = [
        one and one.filtered_by(own, passes(measured, own))
        for own, one in zip(rules, learnt, strict=True)
    ]
    return _of_learnt(measured, plain, plainly), _of_learnt(measured, plain, learnt)


def _of_learnt(
    measured: Measured, plain: Fitted[Rules], learnt: list[Learnt | None]
) -> Fitted[AnyRules]:
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
    return Fitted(rules[0], fold_rules, _held_out(measured.folds, of_fold), sums[0], chosen)


def try_learnt(
    measured: Measured,
    plain: Fitted[Rules],
    chosen: Fitted[AnyRules],
    filtered: Fitted[AnyRules],
    trials: list[Trial],
    *,
    group: Integers,
    seed: int,
) -> Fitted[Rules] | Fitted[AnyRules]:
    """Return which of three stays, the last two from `learn`; what was tried is appended."""
    kept: Fitted[Rules] | Fitted[AnyRules] = plain
    before, after, last = (measured.terms(each.sums) for each in (plain, chosen, filtered))
    trials.append(try_rule("candidate selection", after, before, group, seed))
    rule = "candidate selection and learnt image filter"
    if trials[-1].kept:
        kept, before, rule = chosen, after, "learnt image filter"
    trials.append(try_rule(rule, last, before, group, seed))
    return filtered if trials[-1].kept else kept


def or_nothing(
    measured: Measured,
    candidates: RuleGrid,
    plain: Fitted[Rules],
    kept: Fitted[Rules] | Fitted[AnyRules],
    trials: list[Trial],
    *,
    group: Integers,
    seed: int,
) -> Fitted[Rules] | Fitted[AnyRules]:
    """Return rules that find nothing where they score more than what was kept; told only then."""
    if not candidates.empty_answer:
        return kept
    rules = replace(plain.rules, filter_level=NOTHING)
    sums = measured.metric.nothing(len(group))
    nothing = Fitted(rules, dict.fromkeys(plain.fold_rules, rules), sums, sums)
    after, before = (measured.terms(each.sums) for each in (nothing, kept))
    trial = try_rule("no object at all", after, before, group, seed)
    if trial.kept:
        trials.append(trial)
    return nothing if trial.kept else kept


def _held_out(folds: Integers, sums: Mapping[int, Integers]) -> Integers:
    """Return the sums of each image by its fold's rules."""
    return np.select([(folds == fold)[:, None] for fold in sums], list(sums.values()))
