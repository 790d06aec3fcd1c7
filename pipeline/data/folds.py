"""Grouped folds, no scene in two of them: the table `ImageId, group, stratum, fold`.

Made of the groups of images that overlap, and the truth. A group goes to one fold whole. The groups
are dealt out from the heaviest to the lightest, each to the fold that has least of what the group
holds, so that images, with objects and without, and objects of each size come out even; the many
single images at the end even out what the large groups left.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.data.strata import contents_of
from pipeline.errors import ArtifactError, DataError
from pipeline.jobs.artifacts import read_json, write_atomic, write_json
from pipeline.jobs.tables import read_table
from pipeline.seeds import generator

COLUMNS = ["ImageId", "group", "stratum", "fold"]
GROUPS_SHA256 = "groups_sha256"
RULE = (
    "A group of images that overlap is in one fold. From the heaviest group to the lightest, each "
    "goes to the fold that holds least of what it holds: images, empty images, images with "
    "objects, objects by size, images by stratum, each weighted by the inverse of its fair share."
)


def make_folds(
    image_ids: Sequence[str],
    groups: Sequence[int] | npt.NDArray[np.int64],
    truth: pd.DataFrame,
    *,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """Deal images out to folds; the result depends on no order of rows or numbering of groups.

    Args:
        image_ids: Distinct, one per image.
        groups: Group of each image; any numbers.
        truth: Instances, with at least one row for each image; rows of other images are ignored.
        folds: Number of folds, at least 2.
        seed: Of the run; it decides between groups that weigh the same.

    Returns:
        COLUMNS, sorted by `ImageId`: group int64, numbered by first image; stratum such as `empty`
        or `n1-small` (number of objects, from n1 on; size of the largest); fold int64.

    Raises:
        DataError: An image has no row in the truth, an id repeats, or there are fewer groups than
            folds.
    """
    frame = pd.DataFrame({"ImageId": list(image_ids), "group": np.asarray(groups)})
    frame = frame.sort_values("ImageId", ignore_index=True)
    _check_ids(frame.ImageId, "the images to split", set(truth.ImageId), "the truth", extra=False)
    frame["group"] = pd.factorize(frame.group)[0]
    contents = contents_of(frame.ImageId, truth)
    frame["stratum"] = contents.pop("stratum")
    strata = pd.get_dummies(frame.stratum, prefix="stratum", dtype=np.int64)
    held = pd.concat([contents, strata], axis=1).groupby(frame.group).sum().to_numpy(np.float64)
    if len(held) < folds:
        raise DataError(
            f"{len(frame)} images form {len(held)} groups of overlapping ones; expected at least "
            f"one for each of {folds} folds. Lower folds.count, or add images of other places."
        )
    frame["fold"] = _deal(held, folds, seed)[frame.group]
    return frame[COLUMNS]


def _deal(held: npt.NDArray[np.float64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Give each group, a row of counts, a fold.

    Adding counts v to a fold with loads L changes the sum of squared deviations from the fair
    shares, weighted w, by w v (2 L - 2 share + v): only w v L differs between folds.
    """
    share = held.sum(axis=0) / folds
    weights = 1 / np.maximum(share, 1)
    ties = generator(seed, "folds").permutation(len(held))
    # Weights within a fifth of each other count as equal, so that another seed gives other folds.
    order = np.lexsort([ties, -np.floor(np.log2(held @ weights) * 4 + 1e-6)])
    loads = np.zeros((folds, held.shape[1]))
    chosen = np.empty(len(held), np.int64)
    for group in order:
        cost = loads @ (held[group] * weights)
        # Rounded, so that the order in which a machine adds up cannot decide; the first fold wins.
        chosen[group] = fold = int(np.argmin(np.round(cost, 9)))
        loads[fold] += held[group]
    return chosen


def check_folds(
    frame: pd.DataFrame,
    image_ids: Sequence[str],
    folds: int,
    *,
    source: str = "folds",
    overlap_groups: Sequence[int] | npt.NDArray[np.int64] | None = None,
    own_groups: Sequence[int] | npt.NDArray[np.int64] | None = None,
) -> None:
    """Hold a folds table, ours or a user's own, to everything that training relies on.

    Args:
        frame: The table.
        image_ids: The images that it must hold, each once.
        folds: Number of folds; each must hold an image.
        source: Where the table is from, for messages.
        overlap_groups: Groups found in the pixels, one per image of `image_ids`, to hold the table
            to these as well as to its own; None where the file is trusted.
        own_groups: Groups that the data say themselves, likewise; None if they say none.

    Raises:
        DataError: With the first rule that is broken.
    """
    if list(frame.columns) != COLUMNS:
        raise DataError(
            f"{source}: expected the columns {', '.join(COLUMNS)}; got "
            f"{', '.join(map(str, frame.columns)) or 'none'}."
        )
    _check_ids(frame.ImageId, source, set(image_ids), "the data", extra=True)
    wrong = frame[~frame.fold.isin(range(folds))]
    if len(wrong):
        raise DataError(
            f"{source}: {wrong.ImageId.iloc[0]} is in fold {wrong.fold.iloc[0]}; expected a whole "
            f"number from 0 to {folds - 1} ({len(wrong)} rows differ). It has "
            f"folds.count={frame.fold.nunique()}: set that, or give a file of {folds} folds."
        )
    missing = sorted(set(range(folds)) - set(frame.fold))
    if missing:
        raise DataError(f"{source}: no image is in fold {missing[0]}; expected {folds} folds.")
    _check_whole(frame.group, frame, source, "its own column `group`")
    for groups, by in ((overlap_groups, "its pixels"), (own_groups, "the data's groups.csv")):
        if groups is not None:
            found = pd.Series(np.asarray(groups), index=list(image_ids))
            _check_whole(found.loc[frame.ImageId].reset_index(drop=True), frame, source, by)


def _check_ids(ids: pd.Series, source: str, known: set[str], where: str, *, extra: bool) -> None:
    """Check that each id is there once and in `known`; with `extra`, that none of `known` lacks."""
    repeated = ids[ids.duplicated()]
    unknown = sorted(set(ids) - known)
    missing = sorted(known - set(ids)) if extra else []
    for rows, rule in (
        (repeated.tolist(), "is there more than once"),
        (unknown, f"is not in {where}"),
        (missing, f"is missing, though it is in {where}"),
    ):
        if rows:
            raise DataError(
                f"{source}: {rows[0]} {rule} ({len(rows)} such images of {len(ids)}). Fix it; or "
                f"move it away (mv {source} {source}.old), and split makes new folds."
            )


def _check_whole(groups: pd.Series, frame: pd.DataFrame, source: str, by: str) -> None:
    folds = frame.fold.reset_index(drop=True)
    first = folds.groupby(groups.to_numpy()).transform("first")
    split = np.flatnonzero(first != folds)
    if len(split):
        group = groups.iloc[split[0]]
        mate = np.flatnonzero((groups == group).to_numpy())[0]
        raise DataError(
            f"{source}: {frame.ImageId.iloc[mate]} in fold {folds[mate]} and "
            f"{frame.ImageId.iloc[split[0]]} in fold {folds[split[0]]} are of one group by {by} "
            f"(group {group}; {groups.iloc[split].nunique()} groups are split across folds). "
            "Such images must be in one fold, or the out-of-fold score is too high: correct the "
            f"file, or move it away (mv {source} {source}.old) and split makes new folds."
        )


def balance_table(frame: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Count what each fold holds.

    Args:
        frame: COLUMNS, checked.
        truth: Instances with rows for its images.

    Returns:
        One row per fold and one for `all`: fold, groups, largest_group (images), images,
        empty_images, ship_images, ships and ships by size; whole numbers.
    """
    contents = contents_of(frame.ImageId, truth).drop(columns="stratum")
    fold = frame.fold.to_numpy()
    parts = [(str(number), fold == number) for number in np.unique(fold)]
    rows = []
    for name, rows_of in [*parts, ("all", np.ones(len(frame), bool))]:
        sizes = frame.group[rows_of].value_counts()
        row: dict[str, Any] = {"fold": name, "groups": len(sizes), "largest_group": sizes.max()}
        rows.append(row | contents[rows_of].sum().to_dict())
    return pd.DataFrame(rows)


def describe_folds(
    frame: pd.DataFrame, truth: pd.DataFrame, *, seed: int, groups_sha256: str | None = None
) -> dict[str, Any]:
    """Say how the folds were made and what they hold, as JSON takes it.

    Returns:
        rule; seed; folds; SHA-256 of the table, of its sorted ids and of the truth's sorted rows,
        and of the data's own groups if it has some; balance, a list of the rows of `balance_table`.
    """
    own = {} if groups_sha256 is None else {GROUPS_SHA256: groups_sha256}
    return own | {
        "rule": RULE,
        "seed": seed,
        "folds": int(frame.fold.nunique()),
        "folds_sha256": _sha256(_text(frame)),
        **_contents_sha256(frame.ImageId, truth),
        "balance": [
            {key: value if key == "fold" else int(value) for key, value in row.items()}
            for row in balance_table(frame, truth).to_dict("records")
        ],
    }


def _text(table: pd.DataFrame) -> bytes:
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_folds(
    path: Path,
    frame: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    seed: int,
    groups_sha256: str | None = None,
) -> None:
    """Write the table to `path` and what `describe_folds` says beside it, as `.json`."""
    record = describe_folds(frame, truth, seed=seed, groups_sha256=groups_sha256)
    write_json(path.with_suffix(".json"), record)
    write_atomic(path, _text(frame))


def find_folds(
    folder: Path,
    image_ids: Sequence[str],
    truth: pd.DataFrame,
    folds: int,
    *,
    groups_sha256: str | None = None,
) -> Path | None:
    """Find folds that `write_folds` wrote for the same images, wherever these lay then.

    Args:
        folder: Where to look.
        image_ids: The images to split.
        truth: Their instances.
        folds: Number of folds.
        groups_sha256: Of the data's own groups; None if it has none.

    Returns:
        The table, of several the first by name; None if there is none.
    """
    wanted = {"folds": folds, **_contents_sha256(image_ids, truth)}
    for record in sorted(folder.glob("*.json")):
        with suppress(ArtifactError):  # no record of ours
            known, table = read_json(record), record.with_suffix(".csv")
            if (
                isinstance(known, dict)
                and wanted.items() <= known.items()
                and known.get(GROUPS_SHA256) == groups_sha256
                and table.is_file()
            ):
                return table
    return None


def _contents_sha256(image_ids: Sequence[str] | pd.Series, truth: pd.DataFrame) -> dict[str, str]:
    rows = truth[truth.ImageId.isin(image_ids)].sort_values(["ImageId", "EncodedPixels"])
    return {
        "image_ids_sha256": _sha256("\n".join(sorted(image_ids)).encode()),
        "truth_sha256": _sha256(_text(rows)),
    }


def read_folds(path: Path) -> pd.DataFrame:
    """Read a folds table; `check_folds` checks what is in it.

    Returns:
        COLUMNS: group and fold int64, the others str.

    Raises:
        DataError: See `pipeline.jobs.tables`; or a group or fold is not a whole number.
    """
    advice = "Let s1_split make one in its place, or correct folds.file."
    frame = pd.DataFrame(read_table(path, COLUMNS, advice=advice), columns=COLUMNS, dtype=str)
    for column in ("group", "fold"):
        bad = np.flatnonzero(~frame[column].str.fullmatch("[0-9]{1,18}"))
        if len(bad):
            raise DataError(
                f"{path}, row {bad[0] + 2}: expected a whole number from 0 as {column}, got "
                f"{frame[column].iloc[bad[0]]!r}."
            )
        frame[column] = frame[column].astype(np.int64)
    return frame
