"""The table of ships: a round trip through the file, and each defect with its row."""

import re

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.masks.instances import (
    COLUMNS,
    Defect,
    check_instances,
    read_instances,
    write_instances,
)
from pipeline.masks.sizes import Sizes

pytestmark = pytest.mark.unit


def table(*rows):
    return pd.DataFrame(list(rows), columns=COLUMNS, dtype=str)


GOOD = table(("a.jpg", "1 2 5 2"), ("a.jpg", "3 2"), ("b.jpg", ""), ("NA", "1 1"))


def test_round_trip(tmp_path):
    path = tmp_path / "ships.csv"
    write_instances(path, GOOD)
    assert path.read_bytes() == b"ImageId,EncodedPixels\na.jpg,1 2 5 2\na.jpg,3 2\nb.jpg,\nNA,1 1\n"
    pd.testing.assert_frame_equal(read_instances(path), GOOD)


def test_table_without_rows(tmp_path):
    write_instances(tmp_path / "none.csv", GOOD.iloc[:0])
    frame = read_instances(tmp_path / "none.csv")
    assert list(frame.columns) == COLUMNS
    assert check_instances(frame, Sizes((4, 5)), "none.csv") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file or line"),
        (b"ImageId,Pixels\na.jpg,\n", "got ImageId, Pixels. Put the competition's file there"),
        (b"ImageId,EncodedPixels\na.jpg,\nb.jpg\n", "row 3: expected 2 fields on one line, got 1"),
    ],
)
def test_files_that_are_no_table(tmp_path, content, message):
    path = tmp_path / "ships.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"ships.csv.*{message}"):
        read_instances(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"ships\.csv: missing"):
        read_instances(tmp_path / "ships.csv")


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "ships.csv"
    path.write_bytes(b"\xef\xbb\xbfImageId,EncodedPixels\r\na.jpg,1 2\r\nb.jpg,\r\n")
    assert read_instances(path)["EncodedPixels"].tolist() == ["1 2", ""]


@pytest.mark.parametrize("text", ["-1", "0", "nan", "None"])
def test_another_mark_of_an_empty_image_is_named(text):
    frame = pd.DataFrame([["a.jpg", "1 2"], ["b.jpg", text]], columns=COLUMNS)
    (defect,) = check_instances(frame, Sizes((4, 5)), "ships.csv")
    assert (defect.row, defect.image_id) == (3, "b.jpg")
    assert "some tables say 'no object'" in defect.reason


def test_write_refuses_other_columns(tmp_path):
    with pytest.raises(ValueError, match="columns"):
        write_instances(tmp_path / "ships.csv", GOOD.assign(score=1))
    assert list(tmp_path.iterdir()) == []


def test_a_legal_table_has_no_defect():
    assert check_instances(GOOD, Sizes((4, 5)), "here") == []


@pytest.mark.parametrize(
    ("rows", "defects"),
    [
        ([("a", "1 2"), ("a", "1 2")], [(3, "a", "there twice")]),
        ([("a", ""), ("a", "")], [(3, "a", "there twice")]),
        ([("a", ""), ("b", "1 2"), ("a", "1 2")], [(2, "a", "blank row.*beside")]),
        ([("a", "1 2 3")], [(2, "a", "odd count")]),
        ([("b", ""), ("a", "19 3")], [(3, "a", "beyond the image")]),
        ([("a", "1 2"), ("b", "1 2"), ("a", "2 2")], [(4, "a", "shares pixels.*row 2")]),
        ([("a", "1 20"), ("a", "3 1")], [(3, "a", "shares pixels.*row 2")]),
        ([("", "1 2")], [(2, "", "no ImageId")]),
        ([("a", "x 2"), ("b", "0 1"), ("c", "2 1")], [(2, "a", "'x'"), (3, "b", "zero")]),
        ([("a", "1 x"), ("b", "1 2"), ("b", "1 1")], [(2, "a", "'x'"), (4, "b", "shares")]),
    ],
)
def test_each_defect_has_its_row(rows, defects):
    found = check_instances(table(*rows), Sizes((4, 5)), "here")
    assert [(defect.row, defect.image_id) for defect in found] == [d[:2] for d in defects]
    for defect, (_, _, reason) in zip(found, defects, strict=True):
        assert re.search(reason, defect.reason)


def test_wrong_columns_and_missing_cells_stop_the_check():
    with pytest.raises(
        DataError, match=r"here: expected the columns ImageId, EncodedPixels; got id"
    ):
        check_instances(GOOD.rename(columns={"ImageId": "id"}), Sizes((4, 5)), "here")
    with pytest.raises(DataError, match="NaN"):
        check_instances(table(("a", None)), Sizes((4, 5)), "here")


def test_defects_sort_by_row():
    assert sorted([Defect(3, "a", "x"), Defect(2, "b", "y")])[0].row == 2
