"""The table to upload: its form, and the message of everything the competition would refuse."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.ships.instances import COLUMNS
from pipeline.ships.submission import build_submission, check_submission

pytestmark = pytest.mark.unit

LABELS = np.array([[1, 1, 0], [0, 2, 2]], np.int32)


def table(*rows):
    return pd.DataFrame(list(rows), columns=COLUMNS, dtype=str)


def test_a_row_per_ship_and_one_blank_row_without():
    frame = build_submission([("b", LABELS), ("a", None), ("c", np.zeros((2, 3), np.int32))])
    expected = table(("b", "1 1 3 1"), ("b", "4 1 6 1"), ("a", ""), ("c", ""))
    pd.testing.assert_frame_equal(frame, expected)
    check_submission(frame, ["a", "b", "c"], 2, 3)


def test_no_image_at_all():
    check_submission(build_submission([]), [], 2, 3)


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
        check_submission(table(*rows), ["a", "b"], 2, 3)


def test_only_the_first_few_are_named():
    with pytest.raises(
        DataError, match=r"300 images of the sample are missing: 100; 101; .{0,20}\."
    ):
        check_submission(table(), [str(i) for i in range(100, 400)], 2, 3)
