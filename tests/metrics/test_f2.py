"""The metric against a brute-force reference in fractions, and against pycocotools' IoU."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from pipeline.errors import DataError
from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import encode_labels
from pipeline.metrics.f2 import (
    f2_from_counts,
    hits_from_areas,
    match_objects,
    score_images,
    score_labels,
)

pytestmark = pytest.mark.unit

SHAPE = (8, 6)
LABELS = hnp.arrays(np.int32, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 3])).map(
    lambda values: np.unique(np.append(0, values), return_inverse=True)[1][1:].reshape(SHAPE)
)


def reference_f2(true_hw, found_hw):
    """Full frames, fractions, the text of the rule word by word."""
    n_true, n_found = true_hw.max(), found_hw.max()
    if n_true == 0 or n_found == 0:
        return Fraction(int(n_true == n_found))
    scores = []
    for twentieths in range(10, 20):
        hits = 0
        for one in range(1, n_true + 1):
            for other in range(1, n_found + 1):
                shared = int(((true_hw == one) & (found_hw == other)).sum())
                union = int(((true_hw == one) | (found_hw == other)).sum())
                hits += Fraction(shared, union) > Fraction(twentieths, 20)
        missed, wrong = n_true - hits, n_found - hits
        scores.append(Fraction(5 * hits, 5 * hits + 4 * int(missed) + int(wrong)))
    return sum(scores) / 10


def table(maps):
    rows = [
        (name, text)
        for name, labels_hw in maps.items()
        for text in encode_labels(np.asarray(labels_hw, np.int32)) or [""]
    ]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


@settings(max_examples=60)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=5), st.booleans())
def test_same_scores_as_the_reference(pairs, similar):
    if similar:  # unrelated maps seldom have an IoU above 0.5
        pairs = [(true, np.where(found == 1, 0, true)) for true, found in pairs]
        pairs = [
            (true, np.unique(np.append(0, found), return_inverse=True)[1][1:].reshape(SHAPE))
            for true, found in pairs
        ]
    truth = {f"{i}.jpg": true for i, (true, _) in enumerate(pairs)}
    found = {f"{i}.jpg": found for i, (_, found) in enumerate(pairs)}
    scores = score_images(table(truth), table(found).iloc[::-1], *SHAPE)
    assert scores["ImageId"].tolist() == list(truth)
    for row in scores.itertuples():
        assert row.n_true == truth[row.ImageId].max()
        assert row.n_predicted == found[row.ImageId].max()
        expected = reference_f2(truth[row.ImageId], found[row.ImageId])
        assert row.f2 == pytest.approx(float(expected), abs=1e-12)
        assert score_labels(truth[row.ImageId], found[row.ImageId]) == row.f2


@settings(max_examples=60)
@given(LABELS, LABELS)
def test_same_iou_as_pycocotools(true_hw, found_hw):
    def masks(labels_hw):
        return [
            np.asfortranarray(labels_hw == value, np.uint8)
            for value in range(1, labels_hw.max() + 1)
        ]

    matches = match_objects(table({"a": true_hw}), table({"a": found_hw}), *SHAPE)
    iou = np.zeros((true_hw.max(), found_hw.max()))
    for true, found, shared_px in matches.overlaps.itertuples(index=False):
        areas_px = (true_hw == true + 1).sum() + (found_hw == found + 1).sum()
        iou[true, found] = shared_px / (areas_px - shared_px)
    if iou.size:
        true, found = ([coco.encode(mask) for mask in masks(m)] for m in (true_hw, found_hw))
        expected = coco.iou(found, true, [0] * len(true))
        np.testing.assert_allclose(iou, np.asarray(expected).T, atol=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_hits_count_thresholds_strictly(shared, union):
    shared = min(shared, union)
    expected = sum(Fraction(shared, union) > Fraction(k, 20) for k in range(10, 20))
    assert hits_from_areas(np.array([shared]), np.array([union])).tolist() == [expected]


@pytest.mark.parametrize(
    ("shared", "union", "hits"),
    [(0, 5, 0), (1, 2, 0), (11, 20, 1), (3, 4, 5), (19, 20, 9), (96, 100, 10), (7, 7, 10)],
)
def test_an_iou_equal_to_a_threshold_is_no_hit(shared, union, hits):
    assert hits_from_areas(np.array([shared]), np.array([union])).tolist() == [hits]


def test_empty_cases():
    assert f2_from_counts([0, 0, 0], [0, 0, 2], [0, 3, 0]).tolist() == [1, 0, 0]
    assert f2_from_counts(0, 0, 0) == 1
    sea, ship = np.zeros(SHAPE), np.eye(*SHAPE)
    truth = table({"none": sea, "missed": ship, "wrong": sea, "found": ship})
    found = table({"none": sea, "missed": sea, "wrong": ship, "found": ship})
    assert score_images(truth, found, *SHAPE)["f2"].tolist() == [1, 0, 0, 1]
    assert len(score_images(truth.iloc[:0], found.iloc[:0], *SHAPE)) == 0
    only_sea = table({"none": sea})
    assert match_objects(only_sea, only_sea, *SHAPE).true_ships.empty


def test_each_ship_knows_its_best_partner():
    true_hw, found_hw = np.zeros(SHAPE), np.zeros(SHAPE)
    true_hw[:4, 0], true_hw[:, 5] = 1, 2
    found_hw[:5, 0], found_hw[4:6, 2] = 1, 2
    result = match_objects(table({"a": true_hw}), table({"a": found_hw}), *SHAPE)
    assert result.true_ships["best_iou"].tolist() == [0.8, 0]
    assert result.true_ships["hits"].tolist() == [6, 0]
    assert result.true_ships["area_px"].tolist() == [4, 8]
    assert result.predicted_ships["best_iou"].tolist() == [0.8, 0]
    assert result.predicted_ships["size_px"].tolist() == [4, 2]


def test_blocks_of_images_do_not_change_the_scores(monkeypatch):
    rng = np.random.default_rng(3)
    maps = {f"{i}": (rng.random(SHAPE) < 0.4).astype(int) for i in range(23)}
    moved = {name: np.roll(labels_hw, rng.integers(2)) for name, labels_hw in maps.items()}
    maps["4"][:] = moved["9"][:] = 0
    whole = match_objects(table(maps), table(moved), *SHAPE)
    monkeypatch.setattr("pipeline.metrics.f2.BLOCK_IMAGES", 4)
    parts = match_objects(table(maps), table(moved), *SHAPE)
    for name in ("images", "true_ships", "predicted_ships"):
        pd.testing.assert_frame_equal(getattr(whole, name), getattr(parts, name))


def test_other_images_overlaps_and_illegal_masks_are_errors():
    truth = pd.DataFrame([("a", "1 2"), ("b", "")], columns=COLUMNS)
    with pytest.raises(DataError, match="1 of 2 images are missing from the prediction: b"):
        score_images(truth, truth.iloc[:1], *SHAPE)
    with pytest.raises(DataError, match="predicted but not in the truth: b"):
        score_images(truth.iloc[:1], truth, *SHAPE)
    twice = pd.DataFrame([("a", "1 2"), ("b", "1 2"), ("b", "2 3")], columns=COLUMNS)
    with pytest.raises(DataError, match=r"prediction: masks share pixels.*image b"):
        score_images(truth, twice, *SHAPE)
    with pytest.raises(DataError, match=r"truth.*zero start"):
        score_images(truth.replace("1 2", "0 2"), truth, *SHAPE)
