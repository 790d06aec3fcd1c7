"""A competition's table in each of its forms: what it says, and each defect with its row."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competitions import competitions
from pipeline.errors import DataError
from pipeline.masks.instances import CLASS_COLUMNS, COLUMNS
from pipeline.masks.rle import encode_mask
from pipeline.masks.sizes import Sizes
from pipeline.masks.table_writing import rows_of, to_rows
from pipeline.masks.tables import (
    check_rows,
    read_masks,
    read_rows,
    read_sample,
    to_instances,
)

pytestmark = pytest.mark.unit

HIGH, WIDE = 4, 5
SEVERSTAL, SIIM, CELLS, AIRBUS, OWN = (
    competitions()[name] for name in ("severstal", "siim_acr", "sartorius", "airbus", "masks")
)
CELL_HEADER = ",".join(CELLS.truth_forms[0].columns)


def written(tmp_path, *lines):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, task, **also):
    rows = read_rows(path, task.truth_forms, task)
    return to_instances(rows, task, Sizes((HIGH, WIDE)), **also).to_numpy().tolist()


def test_both_forms_of_severstal_say_the_same(tmp_path):
    joined = written(
        tmp_path,
        "ImageId_ClassId,EncodedPixels",
        *(f"a_1.jpg_{k},{text}" for k, text in enumerate(("", "1 2", "", "3 1"), start=1)),
        *(f"b.jpg_{k}," for k in (1, 2, 3, 4)),
    )
    known = read(joined, SEVERSTAL)
    assert known == [
        *(["a_1.jpg", str(k), text] for k, text in enumerate(("", "1 2", "", "3 1"), start=1)),
        *(["b.jpg", str(k), ""] for k in (1, 2, 3, 4)),
    ]
    sparse = written(
        tmp_path, "ImageId,ClassId,EncodedPixels", "a_1.jpg,4,3 1", "a_1.jpg,2,1 1 2 1"
    )
    assert read(sparse, SEVERSTAL, images=["b.jpg"]) == known


def test_severstals_later_sample_asks_for_rows_of_what_there_is(tmp_path):
    path = written(
        tmp_path, "ImageId,EncodedPixels,ClassId", "b.jpg,1 409600,0", "a.jpg,1 409600,0"
    )
    sample = read_sample(path, SEVERSTAL)
    assert sample.image_ids == ["b.jpg", "a.jpg"]
    table = [["a.jpg", str(k), "1 2" if k in (2, 3) else ""] for k in (1, 2, 3, 4)]
    table += [["b.jpg", str(k), ""] for k in (1, 2, 3, 4)]
    frame = pd.DataFrame(table, columns=CLASS_COLUMNS)
    rows = to_rows(frame, sample, SEVERSTAL, Sizes((HIGH, WIDE)))
    assert list(rows) == ["ImageId", "EncodedPixels", "ClassId"]
    assert rows.to_numpy().tolist() == [
        *(["b.jpg", "", "0"], ["a.jpg", "1 2", "2"], ["a.jpg", "1 2", "3"])
    ]


def test_a_relative_table_with_blanks_is_united(tmp_path):
    path = written(
        tmp_path,
        "ImageId, EncodedPixels",
        *("a, 2 3 1 2", "a, 4 3", "a, 2 3 1 2", "b, -1", "c,19 1", "d,0 20"),
    )
    assert read(path, SIIM) == [["a", "3 6"], ["b", ""], ["c", "20 1"], ["d", "1 20"]]
    assert check_rows(read_rows(path, SIIM.truth_forms, SIIM), SIIM, Sizes((HIGH, WIDE))) == []
    sample = written(tmp_path, "ImageId,EncodedPixels", "a,-1", "b,-1")
    frame = pd.DataFrame([["a", "1 1 3 2 20 1"], ["b", ""]], columns=COLUMNS)
    rows = to_rows(frame, read_sample(sample, SIIM), SIIM, Sizes((HIGH, WIDE)))
    assert rows.EncodedPixels.tolist() == ["0 1 1 2 15 1", "-1"]


def test_cells_are_numbered_along_rows_and_a_shared_pixel_is_the_smallest_ones(tmp_path, caplog):
    caplog.set_level("INFO")
    path = written(
        tmp_path,
        CELL_HEADER,
        *(
            f"{image},{text},704,520,{kind},19h30m00s,2019-06-16,x,0 days 19:30:00"
            for image, text, kind in (
                ("a", "1 15", "cort"),
                ("a", "5 2", "cort"),
                ("a", "16 2", "astro"),
                ("b", "1 1 6 1", "shsy5y"),
                ("c", "1 2", "cort"),
                ("c", "1 2", "cort"),
            )
        ),
    )
    table = read(path, CELLS, images=["d"])
    big, small, other = np.zeros((3, HIGH, WIDE), np.uint8)
    big.flat[:15], small.flat[4:6], other.flat[15:17] = 1, 1, 1
    expected = {
        ("a", "astro"): [encode_mask(other)],
        ("a", "cort"): [encode_mask(big - small), encode_mask(small)],
        ("b", "shsy5y"): ["1 2"],
        ("c", "cort"): ["1 1 5 1"],
    }
    for image in "abcd":
        for kind in CELLS.classes:
            texts = [row[2] for row in table if row[:2] == [image, kind]]
            assert texts == expected.get((image, kind), [""])
    assert "in 2 images masks share 4 px" in caplog.text
    assert "1 lost all" in caplog.text


@pytest.mark.parametrize(
    ("task", "lines", "defect"),
    [
        (
            SEVERSTAL,
            ["ImageId_ClassId,EncodedPixels", "a_5,1 2", "a_1,", "a_2,", "a_3,", "a_4,"],
            r"class '5'.*there are 1, 2, 3, 4",
        ),
        (
            SEVERSTAL,
            ["ImageId_ClassId,EncodedPixels", "a_1,1 2", "a_2,", "a_4,"],
            "no row of class 3 of its image",
        ),
        (SIIM, ["ImageId,EncodedPixels", "a,"], "a blank mask; one without pixels is written -1"),
        (CELLS, [CELL_HEADER, "a,16 6,,,cort,,,,"], r"ends beyond the image of 4x5"),
        (SIIM, ["ImageId,EncodedPixels", "a,-1", "a,1 2"], "a blank row"),
        (SIIM, ["ImageId,EncodedPixels", "a,18 2 1 1"], "'22 1' ends beyond .*has '18 2 1 1'"),
    ],
)
def test_a_defect_has_its_row(tmp_path, task, lines, defect):
    path = written(tmp_path, *lines)
    (found,) = check_rows(read_rows(path, task.truth_forms, task), task, Sizes((HIGH, WIDE)))
    assert (found.row, found.image_id) == (2, "a")
    assert re.search(defect, found.reason)
    with pytest.raises(DataError, match="rows are wrong: row 2"):
        read_masks(path, task, Sizes((HIGH, WIDE)))


def test_a_second_mask_is_a_defect_but_where_the_organiser_unites_them(tmp_path):
    salt = competitions()["tgs_salt"]
    path = written(tmp_path, "id,rle_mask", "a,1 2", "b,", "a,5 2")
    (found,) = check_rows(read_rows(path, salt.truth_forms, salt), salt, Sizes((HIGH, WIDE)))
    assert (found.row, found.reason) == (4, "a second mask, beside that of row 2")
    path = written(tmp_path, "ImageId,EncodedPixels", "a,0 2", "b,-1", "a,5 2")
    assert check_rows(read_rows(path, SIIM.truth_forms, SIIM), SIIM, Sizes((HIGH, WIDE))) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,rle_mask", "a,"], r"looks like that of TGS .*\(competition: tgs_salt\)"),
        (
            ["ImageId,Pixels", "a,"],
            "expected the columns ImageId_ClassId, EncodedPixels or ImageId",
        ),
        (["ImageId_ClassId,EncodedPixels", "a.jpg,1 2"], "row 2: expected <image>_<class>"),
        (["ImageId_ClassId,EncodedPixels"], "got only the header"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_rows(written(tmp_path, *lines), SEVERSTAL.truth_forms, SEVERSTAL)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a_1,", "a_2,", "a_3,"], "a has no row of class 4"),
        (["a_1,", "a_2,", "a_3,", "a_4,", "a_4,"], "a has 1 row.* too many of class 4"),
        (["a_1,", "a_2,", "a_3,", "a_4,", "a_9,"], "a has a row of class 9, which is none of them"),
    ],
)
def test_a_sample_has_a_row_for_each_class(tmp_path, rows, message):
    path = written(tmp_path, "ImageId_ClassId,EncodedPixels", *rows)
    with pytest.raises(DataError, match=message):
        read_sample(path, SEVERSTAL)


def test_own_masks_of_several_classes_need_the_column(tmp_path):
    two = replace(OWN, classes=("a", "b"))
    path = written(tmp_path, "ImageId,EncodedPixels", "x.png,1 2")
    with pytest.raises(DataError, match="expected the columns ImageId, ClassId, EncodedPixels"):
        read_rows(path, two.truth_forms, two)
    assert read(path, replace(OWN, classes=("a",))) == [["x.png", "1 2"]]


def test_ships_stay_as_they_stand(tmp_path):
    lines = ["ImageId,EncodedPixels", "b.jpg,1 1 2 1", "b.jpg,5 1", "a.jpg,"]
    path = written(tmp_path, *lines)
    assert read(path, AIRBUS) == [line.split(",") for line in lines[1:]]
    frame = read_masks(path, AIRBUS, Sizes((HIGH, WIDE)))
    rows = rows_of(frame, AIRBUS.sample_forms, AIRBUS)
    pd.testing.assert_frame_equal(to_rows(frame, rows, AIRBUS, Sizes((HIGH, WIDE))), frame)
