"""The metrics against a brute-force reference in fractions, and against pycocotools' IoU."""

from fractions import Fraction
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from pipeline.config.competitions import MaskMetric, ObjectMetric
from pipeline.errors import ConfigError, DataError
from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2, f2_from_counts
from pipeline.metrics.iou import hits_from_areas
from pipeline.metrics.matching import match_objects, score_labels
from pipeline.metrics.metric import score
from pipeline.metrics.registry import METRICS, find_metric

pytestmark = pytest.mark.unit

SHAPE = (8, 6)


def numbered(values):
    """The same objects, numbered 1..n."""
    return np.unique(np.append(0, values), return_inverse=True)[1][1:].reshape(SHAPE)


LABELS = hnp.arrays(np.int32, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 3])).map(numbered)


def reference(key, true_hw, found_hw):
    """Numerator and denominator: full frames, fractions, the text of the rules word by word."""
    if key in ("mask_ap", "dice", "global_dice"):  # of the union
        true_hw, found_hw = (true_hw > 0).astype(int), (found_hw > 0).astype(int)
    n_true, n_found = int(true_hw.max()), int(found_hw.max())
    both_px, sum_px = int((true_hw * found_hw).sum()), int((true_hw + found_hw).sum())
    if key == "global_dice":
        return 2 * both_px, sum_px
    if n_true == 0 or n_found == 0:
        return Fraction(n_true == n_found), 1
    if key == "dice":
        return Fraction(2 * both_px, sum_px), 1
    scores = []
    for twentieths in range(10, 20):
        hits = 0
        for one in range(1, n_true + 1):
            for other in range(1, n_found + 1):
                shared = int(((true_hw == one) & (found_hw == other)).sum())
                union = int(((true_hw == one) | (found_hw == other)).sum())
                hits += Fraction(shared, union) > Fraction(twentieths, 20)
        missed, wrong = n_true - hits, n_found - hits
        if key == "f2":
            scores.append(Fraction(5 * hits, 5 * hits + 4 * missed + wrong))
        else:
            scores.append(Fraction(hits, hits + missed + wrong))
    return sum(scores) / 10, 1


def table(maps):
    rows = [
        (name, text)
        for name, labels_hw in maps.items()
        for text in encode_labels(np.asarray(labels_hw, np.int32)) or [""]
    ]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=5), st.booleans())
def test_same_scores_as_the_reference(pairs, similar):
    if similar:  # unrelated maps seldom have an IoU above 0.5
        pairs = [(true, numbered(np.where(found == 1, 0, true))) for true, found in pairs]
    truth = {f"{i}.jpg": true for i, (true, _) in enumerate(pairs)}
    found = {f"{i}.jpg": found for i, (_, found) in enumerate(pairs)}
    for key, metric in METRICS.items():
        matches = match_objects(table(truth), table(found).iloc[::-1], Sizes(SHAPE), metric)
        assert matches.images["ImageId"].tolist() == list(truth)
        for row, terms in zip(matches.images.to_dict("records"), matches.terms.T, strict=True):
            true_hw, found_hw = truth[row["ImageId"]], found[row["ImageId"]]
            assert row["n_true"] == true_hw.max()
            assert row["n_predicted"] == found_hw.max()
            assert row["true_px"] == (true_hw > 0).sum()
            assert row["predicted_px"] == (found_hw > 0).sum()
            assert row["shared_px"] == ((true_hw > 0) & (found_hw > 0)).sum()
            expected = reference(key, true_hw, found_hw)
            assert terms.tolist() == pytest.approx([float(each) for each in expected], abs=1e-12)
            assert row[key] == (1 if terms[1] == 0 else terms[0] / terms[1])
            assert score_labels(metric, true_hw, found_hw).tolist() == terms.tolist()


@settings(max_examples=60)
@given(LABELS, LABELS)
def test_same_iou_as_pycocotools(true_hw, found_hw):
    def masks(labels_hw):
        return [
            np.asfortranarray(labels_hw == value, np.uint8)
            for value in range(1, labels_hw.max() + 1)
        ]

    matches = match_objects(table({"a": true_hw}), table({"a": found_hw}), Sizes(SHAPE), F2())
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
    true, found = (pd.DataFrame([("a", f"1 {px}")], columns=COLUMNS) for px in (union, shared or 1))
    for key in ("ap", "mask_ap"):
        if shared:
            scored = match_objects(true, found, Sizes((10, 10)), METRICS[key])
            assert scored.images[key].tolist() == [pytest.approx(hits / 10)]


def test_empty_cases():
    assert f2_from_counts([0, 0, 0], [0, 0, 2], [0, 3, 0]).tolist() == [1, 0, 0]
    assert f2_from_counts(0, 0, 0) == 1
    sea, ship = np.zeros(SHAPE), np.eye(*SHAPE)
    truth = table({"none": sea, "missed": ship, "wrong": sea, "found": ship})
    found = table({"none": sea, "missed": sea, "wrong": ship, "found": ship})
    only_sea = table({"none": sea})
    for key, metric in METRICS.items():
        scored = match_objects(truth, found, Sizes(SHAPE), metric)
        assert scored.images[key].tolist() == [1, 0, 0, 1]
        assert len(match_objects(truth.iloc[:0], found.iloc[:0], Sizes(SHAPE), metric).images) == 0
        assert match_objects(only_sea, only_sea, Sizes(SHAPE), metric).true_ships.empty
        assert score(match_objects(only_sea, only_sea, Sizes(SHAPE), metric).terms) == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=4))
def test_classes_are_scored_each_or_pooled(pairs):
    """The columns of each image are of two classes in turn."""
    first = np.arange(SHAPE[1]) % 2 == 0
    tables = []
    for side in (0, 1):
        of_class = [
            table({f"{i}": numbered(np.where(own, each[side], 0)) for i, each in enumerate(pairs)})
            for own in (first, ~first)
        ]
        tables.append(of_class)
    several = [
        pd.concat([each.assign(ClassId=str(i)) for i, each in enumerate(of_class)])
        for of_class in tables
    ]
    for metric in METRICS.values():
        found = match_objects(*several, Sizes(SHAPE), metric)
        if metric.pools_classes:
            together = (pd.concat(of_class) for of_class in tables)
            expected = match_objects(*together, Sizes(SHAPE), metric).terms
        else:
            each = (
                match_objects(*pair, Sizes(SHAPE), metric) for pair in zip(*tables, strict=True)
            )
            expected = np.concatenate([one.terms for one in each], axis=1)
            assert found.images["ClassId"].tolist() == ["0"] * len(pairs) + ["1"] * len(pairs)
        np.testing.assert_array_equal(found.terms, expected)


def test_each_ship_knows_its_best_partner():
    true_hw, found_hw = np.zeros(SHAPE), np.zeros(SHAPE)
    true_hw[:4, 0], true_hw[:, 5] = 1, 2
    found_hw[:5, 0], found_hw[4:6, 2] = 1, 2
    result = match_objects(table({"a": true_hw}), table({"a": found_hw}), Sizes(SHAPE), F2())
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
    whole = match_objects(table(maps), table(moved), Sizes(SHAPE), F2())
    monkeypatch.setattr("pipeline.metrics.matching.BLOCK_LAYERS", 4)
    parts = match_objects(table(maps), table(moved), Sizes(SHAPE), F2())
    for name in ("images", "true_ships", "predicted_ships"):
        pd.testing.assert_frame_equal(getattr(whole, name), getattr(parts, name))


def test_other_images_overlaps_and_illegal_masks_are_errors():
    truth = pd.DataFrame([("a", "1 2"), ("b", "")], columns=COLUMNS)
    with pytest.raises(DataError, match="1 of 2 images are missing from the prediction: b"):
        match_objects(truth, truth.iloc[:1], Sizes(SHAPE), F2())
    with pytest.raises(DataError, match="predicted but not in the truth: b"):
        match_objects(truth.iloc[:1], truth, Sizes(SHAPE), F2())
    twice = pd.DataFrame([("a", "1 2"), ("b", "1 2"), ("b", "2 3")], columns=COLUMNS)
    with pytest.raises(DataError, match=r"prediction: masks share pixels.*image b"):
        match_objects(truth, twice, Sizes(SHAPE), F2())
    with pytest.raises(DataError, match=r"truth.*zero start"):
        match_objects(truth.replace("1 2", "0 2"), truth, Sizes(SHAPE), F2())


def test_layers_of_classes_are_named():
    truth = pd.DataFrame([("a", "1 2"), ("a", "")], columns=COLUMNS).assign(ClassId=["3", "4"])
    with pytest.raises(DataError, match="missing from the prediction: a, class 4"):
        match_objects(truth, truth.iloc[:1], Sizes(SHAPE), METRICS["dice"])


def test_an_unknown_metric_is_an_error():
    assert find_metric("dice").label == "Dice"
    with pytest.raises(ConfigError, match=r"expected one of f2, ap, .*, got 'f1'"):
        find_metric("f1")


def test_a_configuration_names_the_metrics_that_there_are():
    of_objects = {key for key, metric in METRICS.items() if metric.of_objects}
    assert {*get_args(ObjectMetric)} == of_objects
    assert {*get_args(MaskMetric)} == METRICS.keys() - of_objects
