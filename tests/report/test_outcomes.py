"""What became of each image, and where F2 was lost, to the last digit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import rectangle

from pipeline.masks.sizes import Sizes
from pipeline.metrics.matching import match_objects
from pipeline.metrics.metric import score
from pipeline.metrics.registry import METRICS
from pipeline.report.outcomes import causes, judge, outcomes_of
from pipeline.report.records import Records

pytestmark = pytest.mark.unit
SIDE = 24


def outcomes(truth, predicted, metric="f2"):
    frames = [
        pd.DataFrame(
            [
                (f"{number}.jpg", rectangle(*ship, SIDE) if ship else "")
                for number, ships in enumerate(images)
                for ship in ships or [None]
            ],
            columns=["ImageId", "EncodedPixels"],
        )
        for images in (truth, predicted)
    ]
    return judge(match_objects(*frames, Sizes((SIDE, SIDE)), METRICS[metric]))


@pytest.mark.parametrize(
    ("truth", "predicted", "cause"),
    [
        ([], [(0, 0, 4, 4)], "false_alarm"),
        ([(0, 0, 4, 4)], [], "silenced"),
        ([(0, 0, 4, 4), (10, 10, 4, 4)], [(0, 0, 4, 4)], "missed"),
        ([(0, 0, 4, 4)], [(0, 0, 4, 4), (10, 10, 4, 4)], "false"),
        ([(0, 0, 4, 4)], [(0, 0, 4, 3)], "outline"),
    ],
)
def test_each_cause_takes_what_is_lost_by_it_alone(truth, predicted, cause):
    found = outcomes([truth], [predicted])
    lost = found.lost()
    assert lost[cause] == pytest.approx(1 - found.layers.score[0])
    assert lost[cause] > 0
    assert sum(lost.values()) == pytest.approx(lost[cause])


SHIPS = st.lists(
    st.tuples(st.sampled_from([0, 6, 12, 18]), st.just(0), st.integers(2, 5), st.integers(4, 9)),
    max_size=3,
    unique_by=lambda ship: ship[0],
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(SHIPS, SHIPS), min_size=1, max_size=5),
    st.sampled_from(["f2", "ap", "dice", "global_dice"]),
)
def test_the_causes_add_up_and_the_curve_has_the_score_as_its_mean(images, metric):
    found = outcomes([truth for truth, _ in images], [predicted for _, predicted in images], metric)
    lost, scored = found.lost(), score(found.matches.terms)
    assert set(causes("ship", "ships", objects=METRICS[metric].of_objects)) <= set(lost)
    assert sum(lost.values()) == pytest.approx(1 - scored)
    assert all(value >= 0 for value in lost.values())
    assert found.over_iou(with_objects=False).mean() == pytest.approx(scored)


def test_what_f2_loses_is_weighed_as_it_weighs():
    """Of 2 (4 n_true + n_predicted) a miss takes 8, a false one 2, a loose one 10 less its hits."""
    truth = [(0, 0, 4, 8), (6, 0, 4, 8), (12, 0, 4, 8)]
    lost = outcomes([truth], [[(0, 0, 4, 6), (18, 0, 4, 8)]]).lost()
    whole = 2 * (4 * 3 + 2)
    assert lost["missed"] == pytest.approx(2 * 8 / whole)
    assert lost["false"] == pytest.approx(2 / whole)
    assert lost["outline"] == pytest.approx((10 - 5) / whole)


def test_merged_and_split_ships_are_counted(simulated):
    images = outcomes_of(Records(simulated)).layers
    kind = np.arange(len(images)) % 8
    assert images.merged.tolist() == (kind == 2).astype(int).tolist()
    assert images.split.tolist() == (kind == 3).astype(int).tolist()
    assert (images.missed_px[kind == 1] > 0).all()
    assert (images.missed_px[kind > 4] == 0).all()
