"""Which images of a table are held out for a test: whole groups, empty and filled alike."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.folds import make_folds
from pipeline.data.images import shown
from pipeline.errors import DataError
from pipeline.jobs.tables import read_table

MAX_PARTS = 100  # a share is rounded to so many parts of the whole at most


def hold_out(truth: pd.DataFrame, groups: Sequence[str], share: float, seed: int) -> set[str]:
    """Choose about a share of the images, as `make_folds` deals them out.

    Args:
        truth: A table of objects, with a row for each image.
        groups: Of each image, in the order of its first row; none is split.
        share: Of the images, 0 to 1.
        seed: Decides between groups that weigh the same.

    Raises:
        DataError: There are too few groups for the share.
    """
    ids = truth.ImageId.unique().tolist()
    codes, named = pd.factorize(np.asarray(groups))
    count = len(named)
    parts = Fraction(share).limit_denominator(min(count, MAX_PARTS))
    if not 0 < parts < 1:
        raise DataError(
            f"{len(ids)} images form {count} groups, of which a share of {share} is none or all. "
            "Give a share such as 0.2 and at least two groups, or hold no images out."
        )
    folds = make_folds(ids, codes, truth, folds=parts.denominator, seed=seed)
    return {*folds.ImageId[folds.fold < parts.numerator]}


def read_groups(path: Path, ids: Sequence[str]) -> list[str]:
    """Read the group of each image from a table `ImageId, group`, in the order of `ids`.

    Raises:
        DataError: An image is not there, or twice in different groups; or see `read_table`.
    """
    rows = read_table(path, ["ImageId", "group"], advice="Give a table of these columns.")
    return groups_of(rows, ids, path)


def groups_of(rows: Iterable[Sequence[str]], ids: Sequence[str], path: Path) -> list[str]:
    """Return the group of each image from the rows `ImageId, group` of the table at `path`.

    Raises:
        DataError: An image is not there, or twice in different groups.
    """
    pairs = {(image_id, group.strip()) for image_id, group in rows}
    groups = dict(pairs)
    missing = [image_id for image_id in ids if image_id not in groups]
    if missing or len(groups) < len(pairs):
        what = f"no row of {shown(missing[0])}" if missing else "an image in two groups"
        raise DataError(f"{path}: expected one group for each image, got {what}. Correct it.")
    return [groups[image_id] for image_id in ids]
