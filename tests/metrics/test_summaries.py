"""The summary of scores on a table small enough to score by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.masks.instances import COLUMNS
from pipeline.masks.sizes import Sizes
from pipeline.metrics.dice import Dice, GlobalDice
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.metrics.summaries import in_words, jackknife_error, summarise

pytestmark = pytest.mark.unit


def matches(true_rows, found_rows, metric=F2):
    true, found = (
        pd.DataFrame(rows, columns=COLUMNS, dtype=str) for rows in (true_rows, found_rows)
    )
    return match_objects(true, found, Sizes((100, 100)), metric())


TRUE = [("a", "1 50"), ("a", "101 150"), ("b", ""), ("c", ""), ("d", "1 6000")]
FOUND = [("a", "1 50"), ("b", ""), ("c", "1 5"), ("d", "1 6000")]


def test_by_hand():
    scores = summarise(matches(TRUE, FOUND), np.array([0, 0, 1, 1]), np.array(["x", "y", "z", "z"]))
    f2_a = 5 / (5 + 4)  # one hit, one miss
    assert scores["f2"] == pytest.approx((f2_a + 1 + 0 + 1) / 4)
    assert scores["f2_all_empty"] == 0.5
    assert scores["f2_ship_images"] == pytest.approx((f2_a + 1) / 2)
    assert scores["f2_empty_images"] == 0.5
    assert scores["folds"]["0"]["f2"] == pytest.approx((f2_a + 1) / 2)
    assert scores["folds"]["1"]["f2_empty_images"] == 0
    assert scores["f2_fold_deviation"] == pytest.approx(np.std([(f2_a + 1) / 2, 0.5], ddof=1))
    found = {row["from_px"]: row["found"] for row in scores["by_ship_size"]}
    assert found == {0: 1, 100: 0, 400: None, 1500: None, 5000: 1}
    f2 = {row["from_px"]: row["f2"] for row in scores["by_ship_size"]}
    assert f2[0] == pytest.approx(5 / (4 + 2))  # the false ship of 5 px is of this class too
    images = {row["from_ships"]: row["images"] for row in scores["by_ship_count"]}
    assert images == {1: 1, 2: 1, 3: 0, 5: 0, 10: 0}
    expected = [share * (f2_a + 1) / 2 + (1 - share) * 0.5 for share in (0.23, 0.48)]
    assert [row["f2"] for row in scores["by_ship_share"]] == pytest.approx(expected)
    assert [row["f2_all_empty"] for row in scores["by_ship_share"]] == [0.77, 0.52]
    json.dumps(scores, allow_nan=False)


def test_standard_error_is_that_of_the_mean():
    rng = np.random.default_rng(1)
    rows = [(f"{i}", "1 50") for i in range(60)]
    wrong = [(f"{i}", "1 50" if rng.random() < 0.5 else "") for i in range(60)]
    scored = matches(rows, wrong)
    f2 = scored.images["f2"]
    plain = summarise(scored)["f2_standard_error"]
    assert plain == pytest.approx(f2.std(ddof=1) / np.sqrt(60))
    # The same evidence four times over, in one scene each, says no more than once.
    copies = matches(
        [(f"{i}-{k}", text) for i, text in rows for k in range(4)],
        [(f"{i}-{k}", text) for i, text in wrong for k in range(4)],
    )
    groups = copies.images["ImageId"].str.partition("-")[0].to_numpy()
    assert summarise(copies, groups=groups)["f2_standard_error"] == pytest.approx(plain)


def test_nothing_and_one():
    assert summarise(matches([], []))["f2"] is None
    scores = summarise(matches([("a", "")], [("a", "")]))
    assert scores["f2"] == 1
    assert scores["f2_standard_error"] is None
    assert scores["f2_ship_images"] is None
    assert scores["by_ship_share"] == []
    json.dumps(scores, allow_nan=False)


def test_a_score_of_nothing_is_none_in_words_too():
    words = in_words(F2(), 0.5, None, 0.25, 1.0)
    assert (
        words
        == "F2 0.5000 (images with objects none, empty images 0.2500; the all-empty answer 1.0000)"
    )


def test_the_share_of_ship_images_changes_the_standard_error_too():
    rng = np.random.default_rng(2)
    rows = [(f"{i}", "1 50" if i % 2 else "") for i in range(4000)]
    found = [
        (f"{i}", "1 50" if rng.random() < (0.6 if i % 2 else 0.1) else "") for i in range(4000)
    ]
    for row in summarise(matches(rows, found))["by_ship_share"]:
        share = row["ship_share"]
        error = np.sqrt((share**2 * 0.6 * 0.4 + (1 - share) ** 2 * 0.1 * 0.9) / 2000)
        assert row["f2_standard_error"] == pytest.approx(error, rel=0.1)


def test_masks_by_hand():
    table = [("a", "1 50"), ("b", ""), ("c", "1 5000"), ("d", "")]
    found = [("a", "26 50"), ("b", ""), ("c", "1 6000"), ("d", "1 100")]
    groups = np.array(["x", "y", "z", "z"])
    scores = summarise(matches(table, found, Dice), groups=groups)
    dice_c = 2 * 5000 / 11000
    assert scores["dice"] == pytest.approx((0.5 + 1 + dice_c + 0) / 4)
    assert scores["dice_object_images"] == pytest.approx((0.5 + dice_c) / 2)
    assert scores["dice_empty_images"] == 0.5
    assert scores["dice_all_empty"] == 0.5
    by_share = {row["from_share"]: (row["images"], row["dice"]) for row in scores["by_area_share"]}
    nothing = (0, None)
    assert by_share == {0.0: (1, 0.5), 0.01: nothing, 0.05: nothing, 0.2: nothing, 0.5: (1, dice_c)}
    scores = summarise(matches(table, found, GlobalDice), groups=groups)
    assert scores["global_dice"] == pytest.approx(2 * 5025 / (5050 + 6150))
    assert scores["global_dice_all_empty"] == 0
    assert scores["global_dice_empty_images"] == 0
    # Without x, without y, without z: nothing is true or predicted in y.
    without = np.array([2 * 5000 / 11100, 2 * 5025 / 11200, 2 * 25 / 100])
    error = np.sqrt(((without - without.mean()) ** 2).sum() * 2 / 3)
    assert scores["global_dice_standard_error"] == pytest.approx(error)
    json.dumps(scores, allow_nan=False)


def test_the_jackknife_error_is_how_much_a_global_score_varies():
    rng = np.random.default_rng(4)

    def terms():
        whole = rng.integers(50, 150, 200)
        return np.stack([rng.binomial(whole, 0.7), whole]).astype(float)

    errors = [jackknife_error(terms(), np.arange(200) // 2) for _ in range(20)]
    assert np.mean(errors) == pytest.approx(np.sqrt(0.7 * 0.3 / 20_000), rel=0.05)
