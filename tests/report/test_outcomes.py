"""What became of each image, and where F2 was lost, to the last digit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import rectangle

from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.report.outcomes import CAUSES, Outcomes, outcomes_of
from pipeline.report.records import Records

pytestmark = pytest.mark.unit
SIDE = 24


def outcomes(truth, predicted):
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
    matches = match_objects(*frames, SIDE, SIDE, F2())
    return Outcomes(matches.images, matches, SIDE, SIDE)


@pytest.mark.parametrize(
    ("truth", "predicted", "cause"),
    [
        ([], [(0, 0, 4, 4)], "false_alarm"),
        ([(0, 0, 4, 4)], [], "silenced"),
        ([(0, 0, 4, 4), (10, 10, 4, 4)], [(0, 0, 4, 4)], "missed"),
        ([(0, 0, 4, 4)], [(0, 0, 4, 4), (10, 10, 4, 4)], "false_ship"),
        ([(0, 0, 4, 4)], [(0, 0, 4, 3)], "outline"),
    ],
)
def test_each_cause_takes_what_is_lost_by_it_alone(truth, predicted, cause):
    found = outcomes([truth], [predicted])
    lost = found.lost()
    assert lost[cause] == pytest.approx(1 - found.images.f2[0])
    assert lost[cause] > 0
    assert sum(lost.values()) == pytest.approx(lost[cause])


SHIPS = st.lists(
    st.tuples(st.sampled_from([0, 6, 12, 18]), st.just(0), st.integers(2, 5), st.integers(4, 9)),
    max_size=3,
    unique_by=lambda ship: ship[0],
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SHIPS, SHIPS), min_size=1, max_size=5))
def test_the_causes_add_up_and_the_curve_has_the_score_as_its_mean(images):
    found = outcomes([truth for truth, _ in images], [predicted for _, predicted in images])
    lost, f2 = found.lost(), found.images.f2.mean()
    assert list(lost) == list(CAUSES)
    assert sum(lost.values()) == pytest.approx(1 - f2)
    assert found.f2_over_iou(ships_only=False).mean() == pytest.approx(f2)


def test_merged_and_split_ships_are_counted(simulated):
    images = outcomes_of(Records(simulated)).images
    kind = np.arange(len(images)) % 8
    assert images.merged.tolist() == (kind == 2).astype(int).tolist()
    assert images.split.tolist() == (kind == 3).astype(int).tolist()
    assert (images.missed_px[kind == 1] > 0).all()
    assert (images.missed_px[kind > 4] == 0).all()
