"""Rules on one map, and rules.json read strictly."""

from dataclasses import asdict

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.maps import ImageMaps
from pipeline.selection.rules import find_objects, read_rules, rules_to_json
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation

pytestmark = pytest.mark.unit

SEPARATION = asdict(Separation("components", 128, 8))
RULES = Rules(Separation("components", 128, 8), min_area_px=3, filter_level=200, filter_area_px=5)


def a_map(area_px, value, speck_px=0):
    prob_hw = np.zeros((9, 12), np.uint8)
    prob_hw[0, :area_px] = 130
    prob_hw[0, 0] = value
    prob_hw[4, :speck_px] = 150
    return ImageMaps(prob_hw)


def test_ships_that_pass_every_rule():
    labels_hw = find_objects(a_map(5, 200, speck_px=2), RULES)
    assert labels_hw.max() == 1
    assert (labels_hw > 0).sum() == 5
    assert find_objects(a_map(5, 200, speck_px=3), RULES).max() == 2


@pytest.mark.parametrize(
    "maps",
    [
        None,
        ImageMaps(np.zeros((0, 0), np.uint8)),
        a_map(0, 0),
        a_map(5, 199),
        a_map(4, 255),
        a_map(2, 255),
    ],
    ids=["not stored", "no pixel", "sea", "faint", "largest too small", "specks"],
)
def test_images_without_ships(maps):
    assert find_objects(maps, RULES) is None


def test_without_gates_every_component_large_enough_counts():
    assert find_objects(a_map(3, 130), Rules(RULES.separation, 3)).max() == 1


def test_round_trip():
    assert read_rules(rules_to_json(RULES), "rules.json") == RULES


@pytest.mark.parametrize("value", [RULES.to_json(), RULES.to_json() | {"kind": "forest"}, []])
def test_rules_of_no_known_kind_are_refused(value):
    with pytest.raises(
        ArtifactError, match=r"rules\.json: expected rules of the kind thresholds or"
    ):
        read_rules(value, "rules.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"separation": SEPARATION | {"threshold": 0}}, "threshold: expected"),
        ({"separation": SEPARATION | {"threshold": 0.5}}, "threshold: expected"),
        ({"separation": SEPARATION | {"connectivity": 6}}, "connectivity: expected"),
        ({"separation": SEPARATION | {"method": "erode"}}, "method: expected"),
        (
            {"separation": SEPARATION | {"rectangles": True}},
            "separation: expected exactly the rules",
        ),
        ({"separation": SEPARATION | {"seed": 1}}, "seed: expected"),
        ({"separation": SEPARATION | {"method": "contact"}}, "seed: expected"),
        ({"separation": {}}, "separation: expected exactly the rules"),
        ({"min_area_px": True}, "min_area_px: expected"),
        ({"filter_level": 257}, "filter_level: expected"),
        ({"contact_width_px": 3}, "exactly the rules"),
    ],
)
def test_other_rules_are_refused(change, message):
    with pytest.raises(ArtifactError, match=f"rules.json: .*{message}"):
        Rules.from_json(RULES.to_json() | change, "rules.json")


def test_a_missing_rule_is_refused():
    value = RULES.to_json()
    del value["min_area_px"]
    with pytest.raises(ArtifactError, match="exactly the rules"):
        Rules.from_json(value, "rules.json")
    with pytest.raises(ArtifactError, match="got list"):
        Rules.from_json([], "rules.json")
