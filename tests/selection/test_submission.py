"""The table to upload: its form, and the message of everything the competition would refuse."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArtifactError, DataError
from pipeline.maps import ImageMaps
from pipeline.masks.instances import CLASS_COLUMNS, COLUMNS
from pipeline.masks.sizes import Sizes
from pipeline.selection.submission import check_submission
from pipeline.selection.thresholds import Rules
from pipeline.separation.foreground import pack
from pipeline.separation.separate import Separation
from tests.found import find_instances

pytestmark = pytest.mark.unit

MAPS = pack(ImageMaps(np.array([[200, 200, 0, 0], [0, 0, 0, 200]], np.uint8)), 128)
RULES = Rules(Separation("components", 128, 4), min_area_px=1)


def table(*rows):
    return pd.DataFrame(list(rows), columns=COLUMNS, dtype=str)


def test_a_row_per_ship_and_one_blank_row_without():
    maps = [("b", 0, MAPS), ("a", 0, None), ("c", 1, None)]
    frame = find_instances(maps, {0: RULES, 1: RULES})
    expected = table(("b", "1 1 3 1"), ("b", "8 1"), ("a", ""), ("c", ""))
    pd.testing.assert_frame_equal(frame, expected)
    check_submission(frame, ["a", "b", "c"], Sizes((2, 4)))


def test_each_fold_has_its_rules():
    large = replace(RULES, min_area_px=2)
    frame = find_instances([("a", 0, MAPS), ("b", 1, MAPS)], {0: RULES, 1: large})
    assert frame.ImageId.tolist() == ["a", "a", "b"]


def noise():
    """More dots than a map can hold."""
    prob_hw = np.zeros((512, 512), np.uint8)
    prob_hw[::2, ::2] = 255
    return ImageMaps(prob_hw)


def test_a_map_that_cannot_be_cut_is_named():
    with pytest.raises(DataError, match=r"b\.jpg: a map has 65,536 connected components"):
        find_instances([("a.jpg", 0, MAPS), ("b.jpg", 0, pack(noise(), 128))], {0: RULES})
    contact = {0: Rules(Separation("contact", 128, 8, 64), min_area_px=1)}
    with pytest.raises(ArtifactError, match=r"a\.jpg: the rules cut objects by the touching"):
        find_instances([("a.jpg", 0, MAPS)], contact)


def test_no_image_at_all():
    check_submission(find_instances([], {}), [], Sizes((2, 3)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "")], "1 images of the sample are missing: b"),
        ([("a", ""), ("b", ""), ("x", "")], "1 images are not in the sample: x"),
        ([("a", ""), ("b", ""), ("b", "")], r"row 4 \(b\): the row is there twice"),
        ([("a", ""), ("b", ""), ("b", "1 2")], r"row 3 \(b\): a blank row"),
        ([("a", ""), ("b", "6 2")], r"row 3 \(b\): RLE: .*beyond the image"),
        ([("a", ""), ("b", "1 2"), ("b", "2 1")], r"row 4 \(b\): its mask shares pixels"),
        ([("x", "1 0")], "missing.*not in the sample.*1 rows are wrong"),
    ],
)
def test_what_the_competition_refuses(rows, message):
    with pytest.raises(DataError, match=message):
        check_submission(table(*rows), ["a", "b"], Sizes((2, 3)))


def test_only_the_first_few_are_named():
    with pytest.raises(
        DataError, match=r"300 images of the sample are missing: 100; 101; .{0,20}\."
    ):
        check_submission(table(), [str(i) for i in range(100, 400)], Sizes((2, 3)))


def masks(*rows):
    return pd.DataFrame(list(rows), columns=CLASS_COLUMNS, dtype=str)


@pytest.mark.parametrize(
    ("rows", "objects", "expected"),
    [
        ([("a", "x", "1 2"), ("a", "y", "2 3")], False, ""),
        ([("a", "x", "1 2"), ("a", "y", "2 3")], True, "row 3 .a.: its mask shares pixels"),
        ([("a", "x", "1 2")], False, "1 images of the sample are missing: a of class y"),
        ([("a", "x", ""), ("a", "y", ""), ("a", "z", "")], True, "not in the sample: a of class z"),
        ([("a", "x", "1 1"), ("a", "x", "3 1"), ("a", "y", "")], True, ""),
        (
            [("a", "x", "1 1"), ("a", "x", "3 1"), ("a", "y", "")],
            False,
            "1 images have several masks of a class: a of class x",
        ),
    ],
)
def test_each_class_of_an_image_has_its_rows(rows, objects, expected):
    task = {"classes": ("x", "y"), "objects": objects}
    if not expected:
        check_submission(masks(*rows), ["a"], Sizes((2, 3)), **task)
        return
    with pytest.raises(DataError, match=expected):
        check_submission(masks(*rows), ["a"], Sizes((2, 3)), **task)
