"""The one table of objects: columns `ImageId, EncodedPixels`, one row per object.

Where there are several classes, `ClassId` stands between the two. A class of an image without
objects has exactly one row with a blank `EncodedPixels`. The ground truth, the out-of-fold
prediction and what is submitted all have this form. `check_instances` finds every defect of a table
from its runs, without drawing a mask.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.tables import header_of, read_table, wrong_columns
from pipeline.masks.rle import Runs, find_overlaps, parse_rows, parse_runs
from pipeline.masks.sizes import Sizes

COLUMNS = ["ImageId", "EncodedPixels"]
CLASS_COLUMNS = ["ImageId", "ClassId", "EncodedPixels"]
ADVICE = "Put the competition's file there."

# Rows are parsed together, and one by one only in the block that holds an illegal one.
BLOCK_ROWS = 4096


@dataclass(frozen=True, order=True)
class Defect:
    """One thing that is wrong with an image's rows.

    Attributes:
        row: Line in the file, where the header is line 1.
        image_id: The image to leave out.
        reason: The rule that is broken, for a person to read.
    """

    row: int | None
    image_id: str
    reason: str


def columns_of(classes: Sequence[str]) -> list[str]:
    """Return the columns of a table of objects of these classes."""
    return COLUMNS if len(classes) < 2 else CLASS_COLUMNS


def of_class(table: pd.DataFrame, class_id: str) -> pd.DataFrame:
    """Return the instances of one class, as a table of one; one of a single class is that."""
    if "ClassId" not in table:
        return table
    return table[table["ClassId"] == class_id].drop(columns="ClassId")


def read_instances(path: Path) -> pd.DataFrame:
    """Read a table of objects; its rows are in the file's order and not checked beyond their form.

    Returns:
        `ImageId`, `ClassId` if the file has it, and `EncodedPixels`, all str, "" for no object,
        indexed 0..n-1: row i of the table is line i + 2 of the file.

    Raises:
        DataError: See `pipeline.jobs.tables`.
    """
    columns = CLASS_COLUMNS if header_of(path) == CLASS_COLUMNS else COLUMNS
    return pd.DataFrame(read_table(path, columns, advice=ADVICE), columns=columns, dtype=str)


def write_instances(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of objects, whole or not at all.

    Raises:
        ValueError: The frame has other columns.
        ArtifactError: The disk is full.
    """
    if list(frame.columns) not in (COLUMNS, CLASS_COLUMNS):
        raise ValueError(f"expected the columns {CLASS_COLUMNS}, got {list(frame.columns)}")
    write_rows(path, frame)


def write_rows(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of text, whole or not at all.

    Raises:
        ArtifactError: The disk is full.
    """

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*(frame[name] for name in frame), strict=True))
        text.detach()

    write_atomic(path, write)


def check_instances(
    frame: pd.DataFrame, sizes: Sizes, source: str, *, objects: bool = True
) -> list[Defect]:
    """Find every defect of a table of objects.

    Args:
        frame: A table as `read_instances` gives it.
        sizes: Of the images.
        source: Where the table is from, for messages.
        objects: Whether each row is an object of its own; else rows of an image and class together
            are one mask, may be there twice, and share pixels with any other.

    Returns:
        Defects in the order of the rows, [] for a legal table (one without rows is legal):
        a row without an id, a row given twice, a blank row beside objects, an illegal RLE, masks of
        one image that share pixels.

    Raises:
        DataError: The columns are wrong, or a cell is missing.
    """
    if list(frame.columns) not in (COLUMNS, CLASS_COLUMNS):
        raise DataError(wrong_columns(source, COLUMNS, [str(n) for n in frame.columns], ADVICE))
    if frame.isna().to_numpy().any():
        raise DataError(f"{source}: a cell is missing (NaN). Read it with read_instances.")
    ids = frame["ImageId"].tolist()
    encoded = frame["EncodedPixels"].tolist()
    defects = _row_defects(frame, objects)
    runs, owners, illegal = _legal_runs(encoded, sizes.of(ids))
    defects += [Defect(row + 2, ids[row], reason) for row, reason in illegal.items()]
    if not objects:
        return sorted(defects)
    # Each image gets its own stretch of one long axis, so that one sort serves them all.
    image, _ = pd.factorize(frame["ImageId"])
    first = runs[:, 0] + image[owners].astype(np.int64) * math.prod(sizes.largest)
    repeated = frame.duplicated().to_numpy()
    for one, other in find_overlaps(first, runs[:, 1], owners).tolist():
        earlier, later = sorted((one, other))
        if not repeated[later]:
            reason = f"its mask shares pixels with the mask of row {earlier + 2}"
            defects.append(Defect(later + 2, ids[later], reason))
    return sorted(defects)


def _row_defects(frame: pd.DataFrame, objects: bool) -> list[Defect]:
    """Find what is wrong with a row beside its RLE: no id, a repetition, a blank beside objects."""
    blank = frame["EncodedPixels"] == ""
    layer = frame["ImageId"]
    if "ClassId" in frame:
        layer = frame.groupby(["ImageId", "ClassId"], sort=False).ngroup()
    rules = [
        (frame["ImageId"] == "", "the row has no ImageId"),
        (frame.duplicated() & objects, "the row is there twice"),
        (
            blank & layer.isin(layer[~blank].unique()),
            "a blank row, which says 'no object', beside rows with objects",
        ),
    ]
    return [
        Defect(int(row) + 2, str(frame["ImageId"].iloc[row]), reason)
        for broken, reason in rules
        for row in np.flatnonzero(broken)
    ]


def _legal_runs(
    encoded: list[str], sizes: npt.NDArray[np.int64]
) -> tuple[Runs, npt.NDArray[np.int64], dict[int, str]]:
    """Parse all rows; return runs and owners of the legal ones, and what is wrong with others."""
    runs, owners = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    illegal: dict[int, str] = {}
    for first in range(0, len(encoded), BLOCK_ROWS):
        block = encoded[first : first + BLOCK_ROWS]
        of_row = sizes[first : first + BLOCK_ROWS]
        try:
            block_runs, block_owners = parse_rows(block, *of_row.T)
        except DataError:
            rows = enumerate(zip(block, of_row.tolist(), strict=True))
            found = {row: _broken_rule(text, *size) for row, (text, size) in rows}
            legal = ["" if found[row] else text for row, text in enumerate(block)]
            block_runs, block_owners = parse_rows(legal, *of_row.T)
            illegal |= {first + row: rule for row, rule in found.items() if rule}
        runs.append(block_runs)
        owners.append(block_owners + first)
    return np.concatenate(runs), np.concatenate(owners), illegal


def _broken_rule(text: str, height: int, width: int) -> str:
    if text.strip().lower() in ("-1", "0", "nan", "none", "null"):
        return (
            f"'{text.strip()}', with which some tables say 'no object'; here the field is blank "
            "then. Replace it"
        )
    try:
        parse_runs(text, height, width)
    except DataError as error:
        return str(error)
    return ""
