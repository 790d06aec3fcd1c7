"""A folder in a competition's layout, checked: which of its images can be used, and why not.

The folder enters; a `Catalog` of usable images and their instances leaves, beside a quarantine
table that names each image left out, where, and why. Nothing is dropped without a line in it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config.competitions import Competition
from pipeline.data.catalog import Catalog
from pipeline.data.files import ImageFiles, has_test
from pipeline.data.images import name_defect, shown
from pipeline.data.verify import verify_images
from pipeline.errors import DataError
from pipeline.masks.instances import columns_of
from pipeline.masks.rle_forms import shrink
from pipeline.masks.sizes import Size, Sizes
from pipeline.masks.tables import Rows, check_rows, read_rows, read_sample, to_instances

QUARANTINE = ["ImageId", "split", "where", "reason"]


def check_folder(
    root: Path,
    competition: Competition,
    memory: Path,
    *,
    max_bad_share: float,
    jobs: int,
    signatures: Path | None = None,
) -> tuple[Catalog, pd.DataFrame]:
    """Check every row and every image of a folder.

    Args:
        root: Folder in the competition's layout.
        competition: Whose it is.
        memory: Where verdicts on image files are remembered.
        max_bad_share: Largest share of images that may be left out.
        jobs: Threads that decode.
        signatures: Store that gets the signatures of training images; None: of none.

    Returns:
        The catalog, and the quarantine table `ImageId, split, where, reason`.

    Raises:
        DataError: A table cannot be read, no image is usable, or too many are not.
    """
    files = ImageFiles(root / competition.train_images, competition)
    truth, damaged = _read_truth(root, competition, files)
    test_ids = []
    if has_test(root, competition):
        test_ids = read_sample(root / competition.sample, competition).image_ids
    train_ids = sorted({*truth.images, *(files.found if truth.form.sparse else ())})
    train = _verdicts(files, train_ids, memory, jobs, signatures)
    test_files = ImageFiles(root / competition.test_images, competition)
    test = _verdicts(test_files, test_ids, memory, jobs)
    sizes, test_sizes = _sizes(train, test, files, competition)
    unlisted = sorted(files.found.keys() - {*train_ids, *damaged})
    rows = [
        *_file_rows("train", files, train_ids, train.defect),
        *_file_rows("train", files, damaged, damaged.values()),
        *_test_rows(test_files, test_ids, test, test_sizes),
        *_table_rows("train", files, truth, sizes, unlisted),
    ]
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    count = len(train_ids) + len(damaged) + len(unlisted) + len(test_ids)
    _stop_if_too_many(quarantine, count, max_bad_share, root)
    kept = _usable(train_ids, truth, competition, sizes, quarantine)
    masks = _at_mask_size(kept, sizes, competition)
    unusable = _unusable_test_ids(quarantine)
    catalog = Catalog(competition, root, sizes, test_sizes, kept, masks, test_ids, unusable)
    return catalog, quarantine


def check_images(
    root: Path,
    competition: Competition,
    memory: Path,
    *,
    max_bad_share: float,
    jobs: int,
    all_listed: bool,
) -> tuple[pd.DataFrame, Sizes, pd.DataFrame]:
    """Check images and their masks, as `check_folder` does, of a folder without test images.

    Args:
        root: Folder that holds the competition's training images and their truth.
        competition: Whose form they have.
        memory: Where verdicts on image files are remembered.
        max_bad_share: Largest share of the images that may be left out.
        jobs: Threads that decode.
        all_listed: Whether each image must have a row.

    Returns:
        The instances of the usable images, their sizes, and the quarantine table; the split in it
        is `extra`.

    Raises:
        DataError: The table cannot be read, no image is usable, or too many are not.
    """
    files = ImageFiles(root / competition.train_images, competition)
    truth, _ = _read_truth(root, competition, files)
    ids = sorted({*truth.images})
    verdicts = _verdicts(files, ids, memory, jobs)
    sizes, _ = _sizes(verdicts, verdicts, files, competition)
    unlisted = sorted(files.found.keys() - {*ids}) if all_listed else []
    rows = [
        *_file_rows("extra", files, ids, verdicts.defect),
        *_table_rows("extra", files, truth, sizes, unlisted),
    ]
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    _stop_if_too_many(quarantine, len(ids) + len(unlisted), max_bad_share, root)
    return _usable(ids, truth, competition, sizes, quarantine), sizes, quarantine


def _usable(
    ids: Sequence[str],
    truth: Rows,
    competition: Competition,
    sizes: Sizes,
    quarantine: pd.DataFrame,
) -> pd.DataFrame:
    """Return the instances of the images that are not in quarantine."""
    bad = {*quarantine[quarantine.split != "test"].ImageId}
    further = [name for name in ids if name not in bad] if truth.form.sparse else []
    kept = to_instances(truth, competition, sizes, images=further, without=bad)
    if kept.empty:
        raise DataError(
            f"{truth.path}: no training image is usable; the first defect: "
            f"{_line(quarantine.iloc[0])}"
        )
    return kept


def _sizes(
    train: pd.DataFrame, test: pd.DataFrame, files: ImageFiles, competition: Competition
) -> tuple[Sizes, Sizes]:
    """Return the sizes of the training and the test images, one for all where it must be."""
    usable = train[train.defect == ""]
    if usable.empty:
        raise DataError(
            f"{files.folder}: none of the {len(train)} images that {competition.truth} lists can "
            f"be used; the first: {shown(train.index[0])}: {train.defect.iloc[0]}."
        )
    first = int(usable.height.iloc[0]), int(usable.width.iloc[0])
    sizes = _own_sizes(train, first, competition)
    return sizes, _own_sizes(test, sizes.largest, competition)


def _own_sizes(verdicts: pd.DataFrame, common: Size, competition: Competition) -> Sizes:
    """Return the size of each usable image where they may differ, else that of all."""
    if not competition.sizes_differ:
        return Sizes(common)
    usable = verdicts[verdicts.defect == ""]
    rows = zip(usable.index, usable.height.tolist(), usable.width.tolist(), strict=True)
    return Sizes.of_each({image_id: (height, width) for image_id, height, width in rows}, common)


def _at_mask_size(instances: pd.DataFrame, sizes: Sizes, competition: Competition) -> pd.DataFrame:
    if competition.mask_shape is None:
        return instances
    rows = zip(instances.ImageId, instances.EncodedPixels, strict=True)
    texts = [shrink(text, sizes[image_id], competition.mask_shape) for image_id, text in rows]
    return instances.assign(EncodedPixels=pd.Series(texts, dtype=str))


def check_test_folder(
    root: Path,
    competition: Competition,
    size: Size,
    memory: Path,
    *,
    max_bad_share: float,
    jobs: int,
) -> tuple[Catalog, pd.DataFrame]:
    """Check the test images alone, as `check_folder` does, where nothing is learned.

    Args:
        root: Folder that holds at least the test images and the sample submission.
        competition: Whose it is.
        size: Of the images that the networks learned from.
        memory: Where verdicts on image files are remembered.
        max_bad_share: Largest share of the test images that may be left out.
        jobs: Threads that decode.

    Returns:
        A catalog without training images, and the quarantine table.

    Raises:
        DataError: The sample submission cannot be read, or too many images are not usable.
    """
    test_ids = read_sample(root / competition.sample, competition).image_ids
    files = ImageFiles(root / competition.test_images, competition)
    test = _verdicts(files, test_ids, memory, jobs)
    sizes = _own_sizes(test, size, competition)
    rows = _test_rows(files, test_ids, test, sizes)
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    _stop_if_too_many(quarantine, len(test_ids), max_bad_share, root)
    none = pd.DataFrame(columns=columns_of(competition.classes), dtype=str)
    unusable = _unusable_test_ids(quarantine)
    return Catalog(competition, root, sizes, sizes, none, none, test_ids, unusable), quarantine


def _read_truth(
    root: Path, competition: Competition, files: ImageFiles
) -> tuple[Rows, dict[str, str]]:
    """Return the truth as it stands, and what is wrong with images whose own file of it is damaged.

    Raises:
        DataError: See `read_rows`; or it names none of the images; or there is no usable file.
    """
    if competition.read_truth is None:
        rows = read_rows(root / competition.truth, competition.truth_forms, competition)
        # Where images without a row are empty ones, all of them would be.
        if rows.form.sparse and not files.found.keys() & {*rows.images}:
            raise DataError(
                f"{rows.path}: expected the ids of images in {files.folder}, got others, such as "
                f"{shown(rows.images[0])} in row 2. Correct the ids or the folder."
            )
        return rows, {}
    masks: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for name in files.found:
        try:
            masks[name] = competition.read_truth(files.folder / name) or competition.rle.empty
        except DataError as error:
            damaged[name] = str(error)
    if not masks:
        first = next(iter(damaged.items()), ("no image", ""))
        raise DataError(f"{files.folder}: no image has a truth; the first: {': '.join(first)}")
    form = competition.truth_forms[0]
    return Rows(files.folder, form, [*masks], None, [*masks.values()]), damaged


def _test_rows(
    files: ImageFiles, test_ids: Sequence[str], test: pd.DataFrame, sizes: Sizes
) -> list[tuple[str, str, str, str]]:
    defects = [
        defect or ("" if (h, w) == (high, wide) else f"expected {wide}x{high} px, got {w}x{h}")
        for defect, h, w, (high, wide) in zip(
            test.defect, test.height, test.width, sizes.of(test_ids).tolist(), strict=True
        )
    ]
    return _file_rows("test", files, test_ids, defects)


def _verdicts(
    files: ImageFiles, ids: Sequence[str], memory: Path, jobs: int, signatures: Path | None = None
) -> pd.DataFrame:
    """Verify the image of each id; one that cannot name a file has no file to look at."""
    paths = {image_id: files.path(image_id) for image_id in ids if not name_defect(image_id)}
    seen = verify_images(
        [*paths.values()],
        memory,
        jobs=jobs,
        signatures=signatures,
        sizes_differ=files.competition.sizes_differ,
        reading=files.competition.reading,
    )
    found = dict(zip(paths, zip(seen.height, seen.width, seen.defect, strict=True), strict=True))
    rows = [found.get(image_id, (0, 0, name_defect(image_id))) for image_id in ids]
    return pd.DataFrame(rows, columns=["height", "width", "defect"], index=[*ids])


def _table_rows(
    split: str, files: ImageFiles, truth: Rows, sizes: Sizes, unlisted: Sequence[str]
) -> list[tuple[str, str, str, str]]:
    """Say which rows of the table are wrong, and which images have none."""
    table = files.competition.truth
    return [
        *(
            (defect.image_id, split, f"{table} row {defect.row}", defect.reason)
            for defect in check_rows(truth, files.competition, sizes)
        ),
        *_file_rows(split, files, map(shown, unlisted), [f"no row in {table}"] * len(unlisted)),
    ]


def _file_rows(
    split: str, files: ImageFiles, ids: Iterable[str], defects: Iterable[str]
) -> list[tuple[str, str, str, str]]:
    return [
        (image_id, split, files.place(image_id), defect)
        for image_id, defect in zip(ids, defects, strict=True)
        if defect
    ]


def _unusable_test_ids(quarantine: pd.DataFrame) -> list[str]:
    return quarantine[quarantine.split == "test"].ImageId.tolist()


def _stop_if_too_many(quarantine: pd.DataFrame, count: int, limit: float, root: Path) -> None:
    bad = quarantine.drop_duplicates(["ImageId", "split"])
    if len(bad) <= limit * count:
        return
    first = "\n".join(f"  {_line(row)}" for _, row in quarantine.head(10).iterrows())
    raise DataError(
        f"{root}: {len(bad)} of {count} images cannot be used, more than the share that "
        f"data.max_bad_share={limit} allows:\n{first}\nFix the files, or raise data.max_bad_share "
        "to leave those images out."
    )


def _line(row: pd.Series) -> str:
    """Say a row of the quarantine table in one line; a file's place ends in the ImageId."""
    where, image_id = row["where"], shown(row["ImageId"])
    return f"{where if where.endswith(f'/{image_id}') else f'{where}: {image_id}'}: {row['reason']}"
