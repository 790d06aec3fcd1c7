"""The search against a loop over all rules that looks at every map again, and its honesty."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArtifactError, DataError
from pipeline.ships import calibrate as module
from pipeline.ships.calibrate import Candidates, calibrate
from pipeline.ships.instances import COLUMNS
from pipeline.ships.metric import score_images
from pipeline.ships.rle import encode_labels
from pipeline.ships.rules import find_ships
from pipeline.ships.separate import ImageMaps
from pipeline.ships.submission import build_submission

pytestmark = pytest.mark.unit

SHAPE = (24, 30)
GRID = Candidates(
    thresholds=(60, 128, 200),
    connectivities=(4, 8),
    min_areas_px=(0, 12),
    gate_probs=(0, 150, 230),
    gate_areas_px=(0, 30),
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


@pytest.fixture(scope="module")
def solved():
    maps, truth = problem()
    return maps, truth, calibrate(maps, truth, *SHAPE, GRID)


@pytest.fixture(scope="module")
def brute_force(solved):
    """Sums of F2 over each fold's images for every set of rules, from whole maps."""
    maps, truth, _ = solved
    sums = {}
    for place in product(*(range(len(values)) for values in vars(GRID).values())):
        rules = GRID.rules(place)
        found = build_submission((image_id, find_ships(prob, rules)) for image_id, _, prob in maps)
        f2 = score_images(truth, found, *SHAPE)["f2"].to_numpy()
        sums[place] = np.array([f2[fold::3].sum() for fold in range(3)])  # image i is in fold i % 3
    return sums


def test_every_rule_scores_what_the_metric_says(solved, brute_force):
    maps, truth, _ = solved
    measured = module._measure_all(maps, truth, SHAPE, GRID, 1)
    sums = module._f2_sums(measured, GRID, [0, 1, 2])
    assert sums.size == 3 * len(brute_force)
    for place, expected in brute_force.items():
        np.testing.assert_allclose(sums[place], expected, atol=1e-9)


def test_each_fold_is_scored_by_rules_of_the_others(solved, brute_force):
    maps, _, result = solved
    sums = {GRID.rules(place): values for place, values in brute_force.items()}
    honest = 0
    for fold, rules in result.fold_rules.items():
        others = {candidate: values.sum() - values[fold] for candidate, values in sums.items()}
        assert others[rules] == pytest.approx(max(others.values()), abs=1e-9)
        honest += sums[rules][fold] / len(maps)
    best = max(values.sum() for values in sums.values()) / len(maps)
    assert sums[result.rules].sum() / len(maps) == pytest.approx(best, abs=1e-9)
    assert result.scores["f2"] == pytest.approx(honest)
    assert result.scores["f2_in_sample"] == pytest.approx(best)
    assert honest <= best + 1e-9


def test_the_instances_are_the_scored_ships(solved):
    maps, truth, result = solved
    scores = score_images(truth, result.instances, *SHAPE)
    assert scores["f2"].mean() == pytest.approx(result.scores["f2"])
    assert result.instances["ImageId"].unique().tolist() == [image_id for image_id, *_ in maps]
    empty_share = (scores["n_true"] == 0).mean()
    assert result.scores["f2_all_empty"] == pytest.approx(empty_share)


def test_processes_do_not_change_the_measurements(solved, monkeypatch):
    maps, truth, _ = solved
    monkeypatch.setattr(module, "CHUNK_MAPS", 3)
    one, two = (module._measure_all(maps, truth, SHAPE, GRID, jobs) for jobs in (1, 2))
    for combination, found in one.found.items():
        for name, values in vars(found).items():
            np.testing.assert_array_equal(values, getattr(two.found[combination], name))


def test_nothing_but_empty_images():
    maps = [(f"{i}", i % 2, None) for i in range(6)]
    truth = pd.DataFrame([(f"{i}", "") for i in range(6)], columns=COLUMNS, dtype=str)
    result = calibrate(maps, truth, *SHAPE, GRID)
    assert result.scores["f2"] == 1
    assert result.scores["f2_ship_images"] is None
    assert result.rules == GRID.rules((1, 0, 0, 0, 0))  # all tie: the middle, no gate
    assert (result.instances["EncodedPixels"] == "").all()


def test_a_gate_is_chosen_where_it_pays():
    """Empty images have faint large blobs; a gate drops them and keeps the faint ship edges."""
    rng = np.random.default_rng(0)
    maps, rows = [], []
    for index in range(40):
        labels_hw = np.zeros(SHAPE, np.int32)
        prob_hw = np.zeros(SHAPE, np.uint8)
        top, left = rng.integers(0, 10, 2)
        prob_hw[top : top + 6, left : left + 9] = 140
        if index % 2:
            labels_hw[top : top + 6, left : left + 9] = 1
            prob_hw[top + 2, left + 3] = 250
        maps.append((f"{index}", index % 4, ImageMaps(prob_hw)))
        rows += [(f"{index}", text) for text in encode_labels(labels_hw) or [""]]
    truth = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
    result = calibrate(maps, truth, *SHAPE, GRID)
    assert result.scores["f2"] == 1
    assert result.rules.gate_prob == 150  # of 150 and 230, which are equal, the lower middle
    assert result.rules.separation.threshold == 60
    assert result.rules.gate_area_px == 0


def test_ties_go_to_the_middle_and_to_no_gate():
    f2 = np.zeros((7, 2, 1, 3, 1))
    f2[2:7, :, :, :, :] = 0.5
    assert module._best(f2) == (4, 0, 0, 0, 0)
    f2[:, :, :, 0] = 0
    assert module._best(f2) == (4, 0, 0, 1, 0)
    f2[1, 1, 0, 2] = 0.6
    assert module._best(f2 + 1e-12 * np.random.default_rng(0).random(f2.shape)) == (1, 1, 0, 2, 0)


def test_maps_and_truth_must_belong_together():
    maps, truth = problem(6, 2)
    with pytest.raises(DataError, match=r"1 images have no map: 000\.jpg"):
        calibrate(maps[1:], truth, *SHAPE, GRID)
    with pytest.raises(DataError, match=r"1 maps are of images.*not list: 005\.jpg"):
        calibrate(maps, truth[truth["ImageId"] != "005.jpg"], *SHAPE, GRID)
    with pytest.raises(DataError, match="1 images have more than one map"):
        calibrate([*maps, maps[0]], truth, *SHAPE, GRID)
    with pytest.raises(DataError, match=r"two folds or more.*got 1"):
        calibrate([(image_id, 0, prob) for image_id, _, prob in maps], truth, *SHAPE, GRID)
    with pytest.raises(ArtifactError, match=r"map of 000\.jpg: expected 25x30 px"):
        calibrate(maps, truth, 25, 30, GRID)
    with pytest.raises(ValueError, match="twice"):
        calibrate(iter(maps), truth, *SHAPE, GRID)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": ()}, "thresholds: expected at least one"),
        ({"thresholds": (0, 5)}, "threshold: expected a whole number"),
        ({"min_areas_px": (8, 4)}, "min_areas_px.*ascending"),
        ({"connectivities": (4, 6)}, "connectivity"),
        ({"gate_probs": (5,)}, "must start with 0"),
    ],
)
def test_candidates_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        Candidates(**(vars(GRID) | change))
