"""The chance that an object is true: fitted on other folds, as true as it is measured to be."""

import numpy as np
import pandas as pd
import pytest

from pipeline.calibration.confidence import MIN_OBJECTS, confidence_of, fit_confidence
from pipeline.errors import ArtifactError
from pipeline.masks.sizes import Sizes
from pipeline.metrics.matching import match_objects
from pipeline.metrics.registry import find_metric
from pipeline.metrics.reliability import in_words, reliability
from pipeline.selection.confidence import Confidence, logits, object_levels, read_confidence
from pipeline.selection.submission import Drawn

pytestmark = pytest.mark.unit
LINE = Confidence(-1.0, 0.5, 0.8)


def simulated(count, seed=0):
    """Levels, and outcomes that follow LINE."""
    random = np.random.default_rng(seed)
    levels = np.sort(random.uniform(30, 255, (count, 2)), axis=1)
    return levels, random.random(count) < LINE.of(levels), np.arange(count) % 3


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_those_of_each_objects_pixels(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 5))
    labels_hw = np.zeros((9, 13), np.int32)
    labels_hw.flat[: 20 * count] = np.repeat(np.arange(1, count + 1), 20)
    labels_hw = random.permuted(labels_hw)
    prob_hw = random.integers(0, 256, labels_hw.shape).astype(np.uint8)
    each = [prob_hw[labels_hw == label] for label in range(1, count + 1)]
    expected = [[pixels.mean(), pixels.max()] for pixels in each]
    np.testing.assert_allclose(object_levels(labels_hw, prob_hw), np.reshape(expected, (-1, 2)))


def test_what_follows_a_line_gets_its_chances():
    levels, right, folds = simulated(6000)
    found = fit_confidence(levels, right, folds)
    assert np.abs(found.confidence.of(levels) - LINE.of(levels)).max() < 0.05
    told = found.reliability
    assert told["calibration_error"] <= told["calibration_error_by_chance_p95"]
    assert told["brier"] < told["brier_of_share"]
    assert f"{right.sum()} of 6000 objects found are true" in in_words(found.to_json())


def test_a_folds_objects_get_chances_from_the_other_folds():
    levels, right, folds = simulated(300)
    chance = np.empty(300)
    for fold in range(3):
        others = folds != fold
        line = fit_confidence(levels[others], right[others], folds[others] * 0 + [0, 1] * 100)
        chance[~others] = line.confidence.of(levels[~others])
    assert fit_confidence(levels, right, folds).reliability == reliability(chance, right)


def test_reliability_is_as_by_hand():
    random = np.random.default_rng(0)
    chance = np.append(random.random(200) ** 2, 1.0)
    right = random.random(201) < chance
    told = reliability(chance, right)
    bins = {}
    for one, true in zip(chance, right, strict=True):
        bins.setdefault(min(int(one * 10), 9), []).append((one, true))
    gaps = [abs(sum(c for c, _ in each) - sum(t for _, t in each)) for each in bins.values()]
    assert told["calibration_error"] == pytest.approx(sum(gaps) / 201)
    assert told["brier"] == pytest.approx(sum((chance - right) ** 2) / 201)
    assert [round(one["from"] * 10) for one in told["bins"]] == sorted(bins)
    assert [one["objects"] for one in told["bins"]] == [len(bins[b]) for b in sorted(bins)]
    by_chance, p95 = told["calibration_error_by_chance"], told["calibration_error_by_chance_p95"]
    assert 0 < by_chance < p95


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_alike_none_is_sure(right):
    levels, _, folds = simulated(90)
    chance = fit_confidence(levels, np.full(90, right), folds).confidence.of(levels)
    expected = 91 / 92 if right else 1 / 92
    np.testing.assert_allclose(chance, expected, atol=1e-3)


def test_a_line_needs_objects_outside_of_each_fold():
    levels, right, _ = simulated(MIN_OBJECTS * 2)
    enough = np.repeat([0, 1], MIN_OBJECTS)
    assert fit_confidence(levels, right, enough).confidence is not None
    for folds in (np.where(np.arange(len(right)) < 99, 0, 1), enough * 0):
        found = fit_confidence(levels, right, folds)
        assert (found.confidence, found.reliability) == (None, None)
        assert in_words(found.to_json()).startswith("none: ")
        assert read_confidence({"ship": found.to_json()}, ["ship"], "x") == {"ship": None}
    assert fit_confidence(levels[:0], right[:0], enough[:0]).confidence is None


def test_objects_are_known_by_their_image_in_whatever_order_images_come():
    """Object `a` of each image is true and of high levels, `b` neither."""
    ids = [f"{number}.png" for number in range(60)]
    truth = pd.DataFrame({"ImageId": ids, "EncodedPixels": "1 4"})
    truth.loc[::5, "EncodedPixels"] = ""
    rows = [(name, text) for name in reversed(ids) for text in ("1 4", "9 4")]
    levels = [[200.0, 250.0] if text == "1 4" else [100.0, 120.0] for _, text in rows]
    found = pd.DataFrame(rows, columns=["ImageId", "EncodedPixels"])
    matches = match_objects(truth, found, Sizes((8, 8)), find_metric("f2"))
    fit = confidence_of(Drawn(found, np.array(levels)), matches, np.arange(60) % 2)
    assert fit.right == 48
    high, low = fit.confidence.of(np.array([[200.0, 250.0], [100.0, 120.0]]))
    assert high > 0.7
    assert low < 0.1


def test_logits_are_finite_and_rise():
    levels = np.arange(256.0)
    assert np.isfinite(logits(levels)).all()
    assert (np.diff(logits(levels)) > 0).all()


@pytest.mark.parametrize(
    "value", [{}, {"ship": {}}, {"ship": {"confidence": {"slope": 1}}}, ["ship"]], ids=str
)
def test_what_is_no_confidence_is_told(value):
    with pytest.raises(ArtifactError, match=r"x\.json: expected the confidence of ship\."):
        read_confidence(value, ["ship"], "x.json")
