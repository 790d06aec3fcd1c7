"""Trees as arrays against scikit-learn's own, bit by bit."""

import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from pipeline.errors import ArtifactError
from pipeline.selection.trees import Trees, fit_trees

pytestmark = pytest.mark.unit

SIZES = {"trees": 12, "learning_rate": 0.1, "leaves": 8, "min_leaf_rows": 20, "seed": 3}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_equal_those_of_scikit_learn(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 6)).astype(dtype).round(1)
    targets = rows[:, 0] * rows[:, 1] + rng.normal(size=5000)
    models, fit = [], HistGradientBoostingRegressor.fit
    probe = HistGradientBoostingRegressor(max_iter=2).fit(rows[:100], targets[:100])
    assert {"_predictors", "_baseline_prediction"} <= set(vars(probe)), (
        "scikit-learn renamed what fit_trees reads: pin the version before, or find the new names"
    )
    monkeypatch.setattr(
        HistGradientBoostingRegressor, "fit", lambda *all_: models.append(fit(*all_)) or models[0]
    )
    trees = fit_trees(rows[:3000], targets[:3000], **SIZES)
    again = Trees.from_json(json.loads(json.dumps(trees.to_json())), "rules.json")
    expected = models[0].predict(rows)
    assert len(np.unique(expected)) > 50
    np.testing.assert_array_equal(trees.predict(rows), expected)
    np.testing.assert_array_equal(again.predict(rows), expected)


def test_equal_targets_and_no_rows():
    trees = fit_trees(np.zeros((1, 3)), np.ones(1), **SIZES)
    assert trees.predict(np.ones((2, 3))).tolist() == [1, 1]
    assert trees.predict(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("change", [{"value": "x"}, {"left": None}, {"baseline": []}])
def test_other_json_is_refused(change):
    trees = fit_trees(np.zeros((1, 3)), np.ones(1), **SIZES)
    with pytest.raises(ArtifactError, match=r"rules\.json: trees: not trees"):
        Trees.from_json(trees.to_json() | change, "rules.json: trees")
