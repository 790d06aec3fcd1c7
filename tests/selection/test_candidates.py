"""The choice of segments against all choices there are, and the rule that submits it."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.calibration.gain import try_rule
from pipeline.errors import ArtifactError
from pipeline.metrics.metric import mean_of
from pipeline.selection.candidates import (
    Choice,
    LearntFilter,
    LearntSelection,
    ObjectCount,
    best_choice,
    total_hits,
)
from pipeline.selection.trees import fit_trees
from pipeline.separation.segments import FEATURES
from pipeline.separation.separate import Separation

pytestmark = pytest.mark.unit

COUNT = ObjectCount(0.5, 0.2)


def a_forest(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 11))
    parent = np.array([rng.integers(-1, i) if rng.random() < 0.8 else -1 for i in range(size)])
    return np.where(rng.random(size) < 0.3, 0.0, rng.uniform(0, 10, size)), parent


def ways(parent):
    """All choices of which no two lie on one way to a root."""
    above = []
    for one in parent.tolist():
        above.append(set() if one < 0 else above[one] | {one})
    for size in range(len(parent) + 1):
        for chosen in combinations(range(len(parent)), size):
            if not any(above[i] & set(chosen) for i in chosen):
                yield list(chosen)


@pytest.mark.parametrize("seed", range(30))
def test_no_other_choice_is_expected_to_score_more(seed):
    hits, parent = a_forest(seed)
    total = max(hits[chosen].sum() for chosen in ways(parent))
    assert total_hits(hits, parent) == pytest.approx(total)
    ships = COUNT.of(total)
    scores = [hits[c].sum() / (2 * (4 * ships + len(c))) for c in ways(parent)]
    choice = best_choice(hits, parent, COUNT)
    assert list(choice.segments) in list(ways(parent))
    assert choice.f2 == pytest.approx(min(max(scores), 1))
    assert choice.hits == max((hits[i] for i in choice.segments), default=0)


def test_nothing_to_choose_from():
    empty = np.zeros(0)
    assert best_choice(empty, empty, COUNT) == Choice((), 0.0, 0)
    assert best_choice(np.zeros(3), np.array([-1, 0, -1]), COUNT).segments == ()


def a_selection(chance):
    cuts = (Separation("components", 60, 4), Separation("components", 120, 4))
    trees = fit_trees(
        *(np.zeros((1, len(FEATURES))), np.ones(1)),
        trees=1,
        learning_rate=0.1,
        leaves=2,
        min_leaf_rows=1,
        seed=0,
    )
    return LearntSelection(
        cuts, 6, trees, COUNT, LearntFilter(float(np.log(chance / (1 - chance))), 0.0, 0.0, 0.0)
    )


@pytest.mark.parametrize(("chance", "f2_if_ship"), [(0.9, 0.4), (0.6, 0.5), (0.7, 0.5), (0.5, 1)])
def test_ships_are_submitted_where_the_chance_is_above_one_over_one_plus_s(chance, f2_if_ship):
    choice = Choice((3, 5), chance * f2_if_ship, 4.0)
    submitted = a_selection(chance).decide(choice)
    assert submitted == ((3, 5) if chance > 1 / (1 + f2_if_ship) else ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_filter": {}}, "bias"),
        ({"cuts": [{"method": "components", "threshold": 0, "connectivity": 4}]}, "threshold"),
        ({"features": ["area"]}, "learnt from other features.*area"),
        ({"trees": {}}, "trees: not trees"),
        ({"more": 1}, "expected .*got"),
    ],
)
def test_other_json_is_refused(change, message):
    with pytest.raises(ArtifactError, match=rf"rules\.json.*{message}"):
        LearntSelection.from_json(a_selection(0.5).to_json() | change, "rules.json")


def test_a_gain_is_kept_above_its_standard_error_over_scenes():
    rng = np.random.default_rng(0)
    without = rng.uniform(size=400)
    groups = np.repeat(np.arange(100), 4)

    def tried(rule, scores, groups=groups):
        return try_rule(rule, mean_of(scores), mean_of(without), groups, 0)

    noise = np.repeat(rng.normal(0, 0.1, 100), 4)  # of a scene, so a hundred independent values
    trial = tried("noise", without + noise - noise.mean() + 0.005)
    assert trial.gain == pytest.approx(0.005)
    assert trial.standard_error == pytest.approx(0.01, rel=0.2)
    assert not trial.kept
    assert tried("better", without + noise - noise.mean() + 0.02).kept
    assert not tried("the same", without).kept
    alone = tried("one scene", without + 1, np.zeros(400, np.int64))
    assert (alone.standard_error, alone.kept) == (None, False)
