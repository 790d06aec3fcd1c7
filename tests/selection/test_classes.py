import pandas as pd
import pytest

from pipeline.errors import ArtifactError
from pipeline.masks.instances import of_class
from pipeline.selection.classes import classes_to_json, join_classes, read_classes
from pipeline.selection.rules import rules_to_json
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation

pytestmark = pytest.mark.unit


def table(*rows):
    return pd.DataFrame(rows, columns=["ImageId", "EncodedPixels"], dtype=str)


def test_classes_stand_image_by_image_in_one_table():
    three, four = table(("b", "1 2"), ("b", "5 2"), ("a", "")), table(("b", ""), ("a", "7 1"))
    tables = {"3": three, "4": four}
    joined = join_classes(tables)
    assert joined.to_numpy().tolist() == [
        ["b", "3", "1 2"],
        ["b", "3", "5 2"],
        ["b", "4", ""],
        ["a", "3", ""],
        ["a", "4", "7 1"],
    ]
    for class_id, one in tables.items():
        pd.testing.assert_frame_equal(of_class(joined, class_id).reset_index(drop=True), one)
    assert join_classes({"ship": three}) is three is of_class(three, "ship")


def test_the_rules_of_each_class_are_read_back():
    how = Separation("components", 128, 8)
    rules = {"3": Rules(how, 5), "4": Rules(how, 9)}
    stored = {name: {"rules": rules_to_json(one), "tried": []} for name, one in rules.items()}
    assert read_classes(classes_to_json(stored), ("3", "4"), "rules.json") == rules
    one = classes_to_json({"3": stored["3"]})
    assert one == stored["3"]
    assert read_classes(one, ("3",), "rules.json") == {"3": rules["3"]}
    for value, classes in ((stored["3"], ("3", "4")), ({"classes": stored}, ("3",)), ({}, ("3",))):
        with pytest.raises(ArtifactError, match=r"rules\.json: expected rules of 3"):
            read_classes(value, classes, "rules.json")
