"""Tables of text that people and other programs wrote: CSV as it comes, or an error with its row.

Read are UTF-8 with or without a byte order mark, any line ends, quoted fields, and blank lines at
the end. Every field stays text: an id such as `NA` or `nan` is a name like any other.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pipeline.errors import DataError, PipelineError

csv.field_size_limit(2**31 - 1)  # a mask of a large image may need more than Python's 128 KiB


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    advice: str,
    error: type[PipelineError] = DataError,
    line_breaks: bool = False,
) -> list[list[str]]:
    """Return the rows below the header, each with a text for each of `columns`.

    Args:
        path: The file.
        columns: The header that it must have.
        advice: What to do about a file that is missing or is another table.
        error: The kind of error.
        line_breaks: Whether a quoted field may have some. Where not, row i is line i + 2.

    Raises:
        PipelineError: As `error`: the file is missing, empty, not UTF-8, no CSV, or has other
            columns; or a row has more or fewer fields, or a line break.
    """
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows.extend(reader)
    except FileNotFoundError:
        raise error(f"{path}: missing. {advice}") from None
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}. {advice}") from None
    except UnicodeDecodeError as problem:
        # The file is decoded in blocks; the rows of those before are in `rows`.
        block, at = problem.object, problem.start
        row = len(rows) + len((block[:at] + b".").splitlines())
        raise error(
            f"{path}, row {row}: expected UTF-8, got the byte {block[at]:#04x}. Save it as UTF-8."
        ) from None
    except csv.Error as problem:
        # What could be read is in `rows`.
        raise error(
            f"{path}, row {len(rows) + 1}: expected fields as CSV has them: {problem}. Correct the "
            "row; a quote that does not end, for example, swallows what follows."
        ) from None
    broken = reader.line_num != len(rows) and not line_breaks
    while rows and not any(rows[-1]) and len(rows[-1]) <= 1:
        rows.pop()
    if not rows or rows[0] != list(columns):
        raise error(wrong_columns(path, columns, rows[0] if rows else [], advice))
    if broken or set(map(len, rows)) != {len(columns)}:
        _refuse_first(path, rows, len(columns), error)
    return rows[1:]


def header_of(path: Path) -> list[str]:
    """Return the names in a table's first line; [] where `read_table` will say what is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _refuse_first(
    path: Path, rows: list[list[str]], fields: int, error: type[PipelineError]
) -> NoReturn:
    """Raise `error` for the first row that has another number of fields, or else a line break."""
    for number, row in enumerate(rows, start=1):
        split = any("\n" in field or "\r" in field for field in row)
        if len(row) != fields or split:
            got = f"{len(row)}{' and a line break in one' if split else ''}: {str(row)[:200]}"
            raise error(
                f"{path}, row {number}: expected {fields} fields on one line, got {got}. Correct "
                "or remove the row."
            )
    raise AssertionError("the caller has found one")


def wrong_columns(
    source: Path | str, columns: Sequence[str], got: Sequence[str], advice: str
) -> str:
    """Return the message for a table with other columns than it must have."""
    found = ", ".join(got)[:200] or "an empty file or line"
    return f"{source}: expected the columns {', '.join(columns)}; got {found}. {advice}"
