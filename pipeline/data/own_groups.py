"""Groups that the data say themselves: `groups.csv` (ImageId, group) beside the table of masks.

The group of an image is any text, such as a patient, a scene or a date. Images of one group are in
one fold, as are images that overlap.
"""

from pathlib import Path

import pandas as pd

from pipeline.data.catalog import Catalog
from pipeline.data.collisions import Index
from pipeline.data.held_out import groups_of
from pipeline.data.images import shown
from pipeline.errors import DataError
from pipeline.jobs.tables import read_table

GROUPS = "groups.csv"
COLUMNS = ["ImageId", "group"]


def groups_file(root: Path) -> Path | None:
    """Return a data folder's own groups, None if it has none."""
    path = root / GROUPS
    return path if path.exists() else None


def read_own_groups(path: Path, catalog: Catalog) -> Index:
    """Read the group of each training image.

    Returns:
        int64 (n,), in the order of `catalog.train_ids`; images of equal numbers belong together.

    Raises:
        DataError: A row is of no training image or has no group, an image has no row or two
            groups, or all are of one group; or see `read_table`.
    """
    advice = f"Give each training image its group, or delete {path} if there are none."
    known = {*catalog.train_ids}
    rows = [*read_table(path, COLUMNS, advice=advice)]
    for number, (image_id, group) in enumerate(rows, start=2):
        if not group.strip():
            raise DataError(
                f"{path}, row {number}: expected a group of {shown(image_id)}, got a blank. An "
                "image that belongs to no other has a group of its own."
            )
        if image_id not in known and not _is_file(catalog.train_path(image_id)):
            raise DataError(
                f"{path}, row {number}: expected a training image, got {shown(image_id)!r}, which "
                f"{catalog.root} does not hold. Correct the id, or delete the row."
            )
    numbers, names = pd.factorize(pd.Series(groups_of(rows, catalog.train_ids, path)))
    if len(names) < 2:
        raise DataError(
            f"{path}: expected two groups or more, got {shown(names[0])} for all "
            f"{len(numbers)} images, which no split can part. {advice}"
        )
    return numbers


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
