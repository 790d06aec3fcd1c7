"""The search against a loop over all rules that looks at every map again, and its honesty."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.calibration.calibrate import calibrate
from pipeline.calibration.gain import try_rule
from pipeline.calibration.problem import Problem
from pipeline.calibration.search import RuleGrid, best_rules, image_sums, score_sums
from pipeline.calibration.together import calibrate_classes, score_together
from pipeline.config.calibration import CandidateSelection
from pipeline.errors import ArtifactError, DataError
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.metrics.registry import METRICS
from pipeline.selection import workers
from pipeline.selection.candidates import LearntFilter, LearntSelection
from pipeline.selection.classes import join_classes
from pipeline.selection.rules import find_objects, read_rules, rules_to_json
from pipeline.selection.thresholds import Rules
from pipeline.separation.foreground import pack
from pipeline.separation.separate import Separation
from tests.found import find_instances

pytestmark = pytest.mark.unit

SHAPE = (24, 30)
PLAIN = tuple(
    Separation("components", threshold, connectivity)
    for connectivity in (4, 8)
    for threshold in (60, 128, 200)
)
GRID = RuleGrid(PLAIN, min_areas_px=(0, 12), filter_levels=(0, 150, 230), filter_areas_px=(0, 30))
LEARNING = CandidateSelection(
    levels=[level / 255 for level in (60, 128, 200)],
    min_area_px=4,
    trees=20,
    learning_rate=0.2,
    leaves=4,
    min_leaf_segments=5,
    max_images=1000,
)


def scene(rng, ships):
    """True ships, and a map that shows them as a network would: blurred edges, specks, misses."""
    labels_hw = np.zeros(SHAPE, np.int32)
    prob_hw = rng.integers(0, 50, SHAPE)
    for label in range(1, ships + 1):
        top, left = 12 * ((label - 1) // 3), 10 * ((label - 1) % 3)
        height, width = rng.integers(2, 10), rng.integers(2, 10)
        labels_hw[top : top + height, left : left + width] = label
        level = rng.integers(40, 255)
        prob_hw[top : top + height + 1, left + rng.integers(2) : left + width] = level
    for _ in range(rng.integers(4)):
        top, left = rng.integers(0, 22), rng.integers(0, 28)
        prob_hw[top : top + 2, left : left + rng.integers(1, 4)] = rng.integers(50, 255)
    return labels_hw, prob_hw.astype(np.uint8)


def problem(count=24, folds=3, seed=5):
    rng = np.random.default_rng(seed)
    maps, rows = [], []
    for index in range(count):
        labels_hw, prob_hw = scene(rng, int(rng.choice([0, 0, 1, 2, 5])))
        image_id = f"{index:03}.jpg"
        of_image = None if index % 7 == 3 else ImageMaps(prob_hw)
        maps.append((image_id, index % folds, of_image))
        rows += [(image_id, text) for text in encode_labels(labels_hw) or [""]]
    return maps, pd.DataFrame(rows, columns=COLUMNS, dtype=str)


@pytest.fixture(scope="module", params=METRICS)
def solved(request):
    metric = METRICS[request.param]
    maps, truth = problem()
    found = calibrate(maps, truth, Sizes(SHAPE), GRID, metric=metric, objects=metric.of_objects)
    return maps, truth, metric, found


def measure(maps, truth, metric, jobs=1):
    with workers.workers(jobs) as those:
        return Problem(maps, truth, Sizes(SHAPE), 60, those).measure(list(PLAIN), metric)


@pytest.fixture(scope="module")
def brute_force(solved):
    """Terms of each image for every set of rules, from whole maps."""
    maps, truth, metric, _ = solved
    terms = {}
    for place in product(range(len(PLAIN)), *(range(len(v)) for v in GRID.numbers)):
        rules = GRID.rules(place)
        packed = [(image_id, fold, pack(one, rules.lowest)) for image_id, fold, one in maps]
        found = find_instances(packed, dict.fromkeys(range(3), rules), objects=metric.of_objects)
        terms[place] = match_objects(truth, found, Sizes(SHAPE), metric).terms
    return terms


def score(terms):
    numerator, denominator = terms.sum(axis=1)
    return numerator / denominator


def test_every_rule_scores_what_the_metric_says(solved, brute_force):
    maps, truth, metric, _ = solved
    measured = measure(maps, truth, metric)
    sums = score_sums(measured, GRID, [0, 1, 2])
    assert sums.size == 2 * 3 * len(brute_force)
    for place, terms in brute_force.items():
        found = measured.terms(image_sums(measured, GRID.rules(place)))
        np.testing.assert_allclose(found, terms, atol=1e-9)
        by_fold = [terms[:, fold::3].sum(axis=1) for fold in range(3)]  # image i is in fold i % 3
        np.testing.assert_allclose(sums[:, *place], np.transpose(by_fold), atol=1e-9)


def test_each_fold_is_scored_by_rules_of_the_others(solved, brute_force):
    _, _, metric, result = solved
    filtered = result.trials[-1].kept
    assert [trial.rule for trial in result.trials] == ["image filter"]
    scores = {
        GRID.rules(place): terms
        for place, terms in brute_force.items()
        if filtered or place[2:] == (0, 0)
    }
    held_out = np.empty((2, 24))
    for fold, rules in result.fold_rules.items():
        of_fold = np.arange(24) % 3 == fold
        others = {candidate: score(terms[:, ~of_fold]) for candidate, terms in scores.items()}
        assert others[rules] == pytest.approx(max(others.values()), abs=1e-9)
        held_out[:, of_fold] = scores[rules][:, of_fold]
    best = max(map(score, scores.values()))
    assert score(scores[result.rules]) == pytest.approx(best, abs=1e-9)
    assert result.scores[metric.key] == pytest.approx(score(held_out))
    assert result.scores[f"{metric.key}_in_sample"] == pytest.approx(best)
    assert result.trials[-1].score == pytest.approx(score(held_out)) or not filtered


def test_the_score_over_the_threshold_is_that_of_the_best_other_rules(solved, brute_force):
    best = {}
    for place, terms in brute_force.items():
        threshold = GRID.rules(place).separation.threshold
        best[threshold] = max(score(terms), best.get(threshold, 0))
    rows = solved[-1].scores["by_threshold"]
    recorded = {row["threshold"]: row[solved[2].key] for row in rows}
    assert recorded == pytest.approx(best)
    assert list(recorded) == sorted(best)


def test_the_instances_are_the_scored_ships(solved):
    maps, truth, metric, result = solved
    matches = match_objects(truth, result.instances, Sizes(SHAPE), metric)
    assert score(matches.terms) == pytest.approx(result.scores[metric.key])
    assert result.instances["ImageId"].unique().tolist() == [image_id for image_id, *_ in maps]
    assert metric.of_objects or result.instances["ImageId"].is_unique
    nothing = truth.assign(EncodedPixels="").drop_duplicates()
    all_empty = score(match_objects(truth, nothing, Sizes(SHAPE), metric).terms)
    assert result.scores[f"{metric.key}_all_empty"] == pytest.approx(all_empty)


def test_scores_and_trials_are_written_as_in_earlier_versions():
    (maps, truth), (more, true) = problem(24, 3), blinking(15, 3)
    groups = {image_id: index // 2 for index, (image_id, *_) in enumerate(maps + more)}
    tables = pd.concat([truth, true])
    found = calibrate(maps + more, tables, Sizes(SHAPE), GRID, metric=F2(), groups=groups)
    tried = [trial.to_json("f2") for trial in found.trials]
    text = json.dumps({"tried": tried, "scores": found.scores}, indent=2) + "\n"
    assert text == (Path(__file__).parent / "airbus.json").read_text()


def test_processes_do_not_change_the_measurements(monkeypatch):
    maps, truth = problem()
    monkeypatch.setattr(workers, "CHUNK", 3)
    one, two = (measure(maps, truth, F2(), jobs) for jobs in (1, 2))
    for how, found in one.found.items():
        for name, values in vars(found).items():
            np.testing.assert_array_equal(values, getattr(two.found[how], name))


def test_nothing_but_empty_images():
    maps = [(f"{i}", i % 2, None) for i in range(6)]
    truth = pd.DataFrame([(f"{i}", "") for i in range(6)], columns=COLUMNS, dtype=str)
    result = calibrate(maps, truth, Sizes(SHAPE), GRID, metric=F2(), learning=LEARNING)
    assert result.scores["f2"] == 1
    assert result.scores["f2_ship_images"] is None
    assert result.rules == GRID.rules((1, 0, 0, 0))  # all tie: the middle, no image filter
    assert [trial.kept for trial in result.trials] == [False] * 3
    assert (result.instances["EncodedPixels"] == "").all()


def blinking(count, folds):
    """Empty images have faint large blobs; those with ships have a bright spot in theirs."""
    rng = np.random.default_rng(0)
    maps, rows = [], []
    for index in range(count):
        labels_hw = np.zeros(SHAPE, np.int32)
        prob_hw = np.zeros(SHAPE, np.uint8)
        top, left = rng.integers(0, 10, 2)
        prob_hw[top : top + 6, left : left + 9] = 140
        if index % 2:
            labels_hw[top : top + 6, left : left + 9] = 1
            prob_hw[top + 2, left + 3] = 250
        maps.append((f"{index}", index % folds, ImageMaps(prob_hw)))
        rows += [(f"{index}", text) for text in encode_labels(labels_hw) or [""]]
    return maps, pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def test_a_gate_is_chosen_where_it_pays():
    """An image filter drops the faint blobs and keeps the ships' faint edges."""
    result = calibrate(*blinking(40, 4), Sizes(SHAPE), GRID, metric=F2())
    assert result.scores["f2"] == 1
    assert [trial.kept for trial in result.trials] == [True]
    assert result.rules.filter_level == 150  # of 150 and 230, which are equal, the plainest
    assert result.rules.separation.threshold == 60
    assert result.rules.filter_area_px == 0


def test_acceptance_is_learnt_where_it_pays():
    """Without image filters only what is learnt of segments tells faint blobs from ships."""
    maps, truth = blinking(80, 4)
    plain = RuleGrid((PLAIN[0],), min_areas_px=(0,))
    groups = {image_id: int(image_id) // 4 for image_id, *_ in maps}
    result = calibrate(
        maps, truth, Sizes(SHAPE), plain, metric=F2(), learning=LEARNING, groups=groups
    )
    assert [(trial.rule, trial.kept) for trial in result.trials] == [
        ("candidate selection", False),  # it submits the best of any blob
        ("candidate selection and learnt image filter", True),
    ]
    assert result.trials[1].gain == pytest.approx(0.5)
    assert result.scores["f2"] == 1
    assert isinstance(result.rules, LearntSelection)
    again = LearntSelection.from_json(json.loads(json.dumps(result.rules.to_json())), "rules.json")
    for _, _, one in maps:
        ships, same = (find_objects(one, rules) for rules in (result.rules, again))
        assert (ships is None) == (one.prob_hw.max() < 250) == (same is None)
        assert ships is None or (ships == same).all()


@pytest.mark.parametrize(
    "kept",
    [
        {"image filter"},
        {"image filter", "candidate selection"},
        {"image filter", "candidate selection", "learnt image filter"},
        {"image filter", "candidate selection and learnt image filter"},
        {"candidate selection"},
    ],
    ids=lambda kept: ", ".join(sorted(kept)),
)
def test_what_is_kept_is_what_the_written_rules_do(kept, monkeypatch):
    """Each state that rules may be in: the F2 of its trial is that of its ships, also from JSON."""

    def keep(rule, *of_images):
        return replace(try_rule(rule, *of_images), kept=rule in kept)

    monkeypatch.setattr("pipeline.calibration.kinds.try_rule", keep)
    maps, truth = problem(24, 2)
    learning = LEARNING.model_copy(update={"trees": 5})
    result = calibrate(maps, truth, Sizes(SHAPE), GRID, metric=F2(), learning=learning)
    last = [trial for trial in result.trials if trial.kept][-1]
    assert last.score == pytest.approx(result.scores["f2"])
    assert {trial.rule for trial in result.trials if trial.kept} == kept
    written = {fold: json.dumps(rules_to_json(one)) for fold, one in result.fold_rules.items()}
    read = {fold: read_rules(json.loads(text), "rules.json") for fold, text in written.items()}
    packed = [(image_id, fold, pack(one, read[fold].lowest)) for image_id, fold, one in maps]
    pd.testing.assert_frame_equal(find_instances(packed, read), result.instances)
    filters = {
        type(rules.image_filter) for rules in read.values() if isinstance(rules, LearntSelection)
    }
    assert filters == (
        {LearntFilter} if last.rule.endswith("learnt image filter") else {Rules} - {type(read[0])}
    )


def of_side(left, count=24):
    """Maps and truth of a class that is found in one half of the images alone."""
    rng = np.random.default_rng(left)
    other = np.arange(SHAPE[1]) // 15 == left
    maps, rows = [], []
    for index in range(count):
        for one in (pair := scene(rng, int(rng.choice([0, 1, 5])))):
            one[:, other] = 0
        labels_hw = np.unique(pair[0], return_inverse=True)[1].reshape(SHAPE).astype(np.int32)
        maps.append((f"{index}", index % 3, ImageMaps(pair[1])))
        rows += [(f"{index}", text) for text in encode_labels(labels_hw) or [""]]
    return maps, pd.DataFrame(rows, columns=COLUMNS, dtype=str)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_classes_are_calibrated_each_and_scored_together(metric):
    folds = pd.DataFrame({"ImageId": [f"{i}" for i in range(24)]})
    folds = folds.assign(fold=np.arange(24) % 3, group=np.arange(24) // 2)
    groups = dict(zip(folds.ImageId, folds.group, strict=True))
    sides = {"1": of_side(left=True), "2": of_side(left=False)}
    kind = {"metric": metric, "objects": metric.of_objects, "groups": groups}
    found = {name: calibrate(*side, Sizes(SHAPE), GRID, **kind) for name, side in sides.items()}
    truth = join_classes({name: true for name, (_, true) in sides.items()})
    instances = join_classes({name: one.instances for name, one in found.items()})
    scores, matches = score_together(found, truth, instances, folds)
    assert scores["classes"] == {name: one.scores for name, one in found.items()}
    assert scores[metric.key] == score(match_objects(truth, instances, Sizes(SHAPE), metric).terms)
    assert scores["images"] == len(matches.images) == (24 if metric.pools_classes else 48)
    in_sample = {}
    for name, (maps, _) in sides.items():
        rules = found[name].rules
        packed = [(image_id, 0, pack(one, rules.lowest)) for image_id, _, one in maps]
        in_sample[name] = find_instances(packed, {0: rules}, objects=metric.of_objects)
    expected = score(match_objects(truth, join_classes(in_sample), Sizes(SHAPE), metric).terms)
    assert scores[f"{metric.key}_in_sample"] == pytest.approx(expected)
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_class_is_calibrated_beside_those_that_the_metric_pools_it_with(metric):
    sides = {"1": of_side(left=True), "2": of_side(left=False)}
    calls = []

    def fit(name, beside):
        calls.append((name, beside is not None))
        kind = {"metric": metric, "objects": metric.of_objects, "beside": beside}
        return calibrate(*sides[name], Sizes(SHAPE), GRID, **kind)

    found = calibrate_classes(("1", "2"), metric, fit)
    rounds = (False, True) if metric.pools_classes else (False,)
    assert calls == [(name, beside) for beside in rounds for name in ("1", "2")]
    if metric.pools_classes:  # what the last one was chosen by is the score of both
        last = found["2"].trials[-1]
        truth = join_classes({name: true for name, (_, true) in sides.items()})
        instances = join_classes({name: one.instances for name, one in found.items()})
        whole = score(match_objects(truth, instances, Sizes(SHAPE), metric).terms)
        assert whole == pytest.approx(last.score - (0 if last.kept else last.gain))


@pytest.mark.parametrize("key", ["f2", "dice"])
def test_of_a_class_that_is_hardly_found_nothing_is_submitted(key):
    metric, rng = METRICS[key], np.random.default_rng(5)
    maps, rows = [], []
    for index in range(60):  # the maps say nothing of the truth, most of which is empty
        labels_hw = scene(rng, 1 if index % 5 == 0 else 0)[0]
        noise_hw = rng.integers(0, 256, SHAPE).astype(np.uint8)
        maps.append((f"{index}", index % 3, ImageMaps(noise_hw)))
        rows += [(f"{index}", text) for text in encode_labels(labels_hw) or [""]]
    truth = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
    grid = RuleGrid(PLAIN, min_areas_px=(0,))
    kind = {"metric": metric, "objects": metric.of_objects}
    plain = calibrate(maps, truth, Sizes(SHAPE), grid, **kind)
    result = calibrate(maps, truth, Sizes(SHAPE), replace(grid, empty_answer=True), **kind)
    assert result.trials[:-1] == plain.trials
    assert result.trials[-1].rule == "no object at all"
    assert (result.instances.EncodedPixels == "").all()
    assert result.scores[key] == result.scores[f"{key}_all_empty"] == 0.8
    again = read_rules(rules_to_json(result.rules), "")
    assert find_objects(maps[0][2], again) is None


def test_a_global_score_gains_what_the_ratios_differ_by():
    rng = np.random.default_rng(3)
    without, with_rule = rng.integers(0, 50, (2, 2, 60)).astype(float)
    with_rule[:, :10] = without[:, :10] = 0  # nothing true, nothing predicted
    trial = try_rule("filter", with_rule, without, np.arange(60) // 2, seed=0)
    assert trial.score == pytest.approx(score(with_rule))
    assert trial.gain == pytest.approx(score(with_rule) - score(without))
    nothing = try_rule("filter", np.zeros((2, 6)), np.zeros((2, 6)), np.arange(6), seed=0)
    assert (nothing.score, nothing.gain, nothing.kept) == (1, 0, False)


def test_candidate_selection_is_for_f2_alone():
    with pytest.raises(ValueError, match="for F2 alone, got dice"):
        calibrate(*problem(6, 2), Sizes(SHAPE), GRID, metric=METRICS["dice"], learning=LEARNING)


def test_ties_go_to_the_middle_and_to_no_gate():
    seven = RuleGrid(
        tuple(Separation("components", 10 * i, c) for c in (4, 8) for i in range(1, 8)),
        min_areas_px=(0,),
        filter_levels=(0, 5, 6),
    )

    def best(f2):
        rules = best_rules(seven, f2)
        return rules.separation.threshold, rules.separation.connectivity, rules.filter_level

    f2 = np.zeros((14, 1, 3, 1))
    f2[2:7] = f2[9:14] = 0.5
    assert best(f2) == (50, 4, 0)
    f2[:, :, 0] = 0
    assert best(f2) == (50, 4, 5)
    f2[8, 0, 2] = 0.6
    assert best(f2 + 1e-12 * np.random.default_rng(0).random(f2.shape)) == (20, 8, 6)


def test_maps_and_truth_must_belong_together():
    maps, truth = problem(6, 2)
    with pytest.raises(DataError, match=r"1 images have no map: 000\.jpg"):
        calibrate(maps[1:], truth, Sizes(SHAPE), GRID, metric=F2())
    with pytest.raises(DataError, match=r"1 maps are of images.*not list: 005\.jpg"):
        calibrate(maps, truth[truth["ImageId"] != "005.jpg"], Sizes(SHAPE), GRID, metric=F2())
    with pytest.raises(DataError, match="1 images have more than one map"):
        calibrate([*maps, maps[0]], truth, Sizes(SHAPE), GRID, metric=F2())
    with pytest.raises(DataError, match=r"two folds or more.*got 1"):
        calibrate(
            [(image_id, 0, prob) for image_id, _, prob in maps],
            truth,
            Sizes(SHAPE),
            GRID,
            metric=F2(),
        )
    with pytest.raises(ArtifactError, match=r"map of 000\.jpg: expected 25x30 px"):
        calibrate(maps, truth, Sizes((25, 30)), GRID, metric=F2())


def test_a_map_that_cannot_be_cut_is_named():
    prob_hw = np.zeros((512, 512), np.uint8)
    prob_hw[::2, ::2] = 255
    maps = [("a.jpg", 0, None), ("b.jpg", 1, ImageMaps(prob_hw))]
    truth = pd.DataFrame([("a.jpg", ""), ("b.jpg", "")], columns=COLUMNS)
    with pytest.raises(DataError, match=r"b\.jpg: a map has 65,536 connected components"):
        calibrate(maps, truth, Sizes((512, 512)), GRID, metric=F2())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"separations": ()}, "separations: expected values that differ"),
        ({"separations": PLAIN[:1] * 2}, "separations: expected values that differ"),
        ({"min_areas_px": (8, 4)}, "min_areas_px.*ascend"),
        ({"min_areas_px": (-1, 4)}, "min_area_px: expected a whole number"),
        ({"filter_levels": (5,)}, "must start with 0"),
    ],
)
def test_candidates_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        RuleGrid(**(vars(GRID) | change))
