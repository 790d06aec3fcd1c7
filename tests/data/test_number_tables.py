"""Tables by image: names are text, numbers may be missing."""

import math

import pytest

from pipeline.data.number_tables import read_numbers

pytestmark = pytest.mark.unit


def test_names_are_text_and_gaps_of_numbers_are_gaps(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text('ImageId,x,sha256\nNA,,0123\nnan,1.5,\n007,nan,1e5\n"",2,null\n')
    table = read_numbers(path)
    assert table.ImageId.tolist() == ["NA", "nan", "007", ""]
    assert table.sha256.tolist() == ["0123", "", "1e5", "null"]
    assert [math.isnan(x) for x in table.x] == [True, False, True, False]
    path.write_text("x,y\n1,2\n")
    assert read_numbers(path).to_numpy().tolist() == [[1, 2]]
    path.write_text("")
    with pytest.raises(ValueError, match="No columns"):
        read_numbers(path)
