"""The summary of scores on a table small enough to score by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.masks.instances import COLUMNS
from pipeline.metrics.f2 import match_objects
from pipeline.metrics.summaries import in_words, mean, summarise

pytestmark = pytest.mark.unit


def matches(true_rows, found_rows):
    true, found = (
        pd.DataFrame(rows, columns=COLUMNS, dtype=str) for rows in (true_rows, found_rows)
    )
    return match_objects(true, found, 100, 100)


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


def test_a_mean_over_nothing_is_none_in_words_too():
    words = in_words(0.5, mean(np.zeros(0)), 0.25, 1.0)
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
