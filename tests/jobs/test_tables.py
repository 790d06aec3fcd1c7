"""Tables as people and programs write them are read, or refused by row."""

import csv
import random
import re

import pytest

from pipeline.errors import ArtifactError, DataError
from pipeline.jobs.tables import read_table

pytestmark = pytest.mark.unit


@pytest.fixture
def read(tmp_path):
    def read(content, **settings):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        return read_table(path, ["id", "text"], advice="Do this.", **settings)

    return read


ROWS = [["NA", "1 2"], ["nan", ""], ["null", "é"]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("blank", [0, 1, 3])
@pytest.mark.parametrize("quote", ["", '"'])
def test_every_way_to_write_a_table_is_read(read, mark, end, blank, quote):
    lines = [f"{quote}{a}{quote},{quote}{b}{quote}{end}" for a, b in [["id", "text"], *ROWS]]
    assert read(mark + "".join(lines).encode() + blank * end.encode()) == ROWS


def test_the_last_line_need_not_end_and_a_table_may_have_no_rows(read):
    assert read(b"id,text\na,b") == [["a", "b"]]
    assert read(b"id,text\n") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "table.csv: expected the columns id, text; got an empty file or line. Do this."),
        (b"\n\n", "got an empty file or line"),
        (b"text,id\n", "got text, id"),
        (b"id;text\n", "got id;text"),
        (b"id,text,more\n", "got id, text, more"),
        (b"id,text\na,b\nc\n", r"row 3: expected 2 fields on one line, got 1: \['c'\]"),
        (b"id,text\na,b,c\n", "row 2: expected 2 fields on one line, got 3"),
        (b"id,text\n\na,b\n", "row 2: expected 2 fields on one line, got 0"),
        (b'id,text\na,b\n"c\nd",e\nf\n', "row 3: .* got 2 and a line break in one"),
        (b'id,text\na,b\n"c\rd",e\n', "row 3: .* a line break in one"),
        (b"id,text\na,b\nc,\xff\n", r"row 3: expected UTF-8, got the byte 0xff. Save it as"),
        (b"\xef\xbb\xbfid,text\n" + b"a,b\n" * 5000 + b"\xe9,b\n", "row 5002: expected UTF-8"),
        (b'id,text\na,b\n"c,d\n', "row 3: expected fields as CSV has them: unexpected end"),
        (b'id,text\n"a"b,c\n', "row 2: expected fields as CSV has them"),
    ],
)
def test_what_is_no_table_is_named_with_its_row(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


def test_a_huge_field_is_named_with_its_row(read):
    before = csv.field_size_limit(9)
    try:
        with pytest.raises(DataError, match=r"row 3: .*larger than field limit \(9\)"):
            read(b"id,text\na,b\nc,0123456789\n")
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("row", [2, 300, 1025, 4000, 9999])
def test_the_row_of_a_byte_that_is_not_utf8_is_right_in_a_long_file(read, end, row):
    lines = [b"id,text", *(b"number %d,1 2 3" % number for number in range(2, 10000))]
    lines[row - 1] = b"a,\xe4"
    with pytest.raises(DataError, match=rf"row {row}: expected UTF-8, got the byte 0xe4"):
        read(end.join(lines))


@pytest.mark.parametrize("seed", range(50))
def test_mutated_tables_are_read_or_refused_by_row(read, seed):
    draw = random.Random(seed)
    content = bytearray(b"id,text\r\n" + b'a.jpg,"1 2"\n' * 20)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content))
        content[at : at + draw.randint(0, 2)] = draw.choice(
            [b"\xff", b'"', b"\n", b"\r", b",", b"\0", b"\xef\xbb\xbf", b"x" * 300, b""]
        )
    rows, problem = [], None
    try:
        rows = read(bytes(content))
    except DataError as error:
        problem = str(error)
    assert {len(row) for row in rows} <= {2}
    assert problem is None or re.search(r"table\.csv(, row \d+)?: ", problem)


def test_line_breaks_where_they_are_allowed(read):
    assert read(b'id,text\n"a\nb",c\n\n', line_breaks=True) == [["a\nb", "c"]]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.csv: missing\. Do this\."):
        read_table(tmp_path / "none.csv", ["id"], advice="Do this.", error=ArtifactError)
    with pytest.raises(DataError, match=r"cannot be read: Is a directory\. Do this\."):
        read_table(tmp_path, ["id"], advice="Do this.")


def test_a_field_may_be_as_long_as_a_mask_needs(tmp_path):
    path, text = tmp_path / "a.csv", "1 1 " * 100_000
    path.write_text(f"a,b\nc,{text}\n")
    assert read_table(path, ["a", "b"], advice="") == [["c", text]]
