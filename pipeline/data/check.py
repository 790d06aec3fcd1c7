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
    shape = _common_shape(train, files, competition)
    unlisted = [*map(shown, sorted(files.found.keys() - {*train_ids, *damaged}))]
    rows = [
        *_file_rows("train", files, train_ids, train.defect),
        *_file_rows("train", files, damaged, damaged.values()),
        *_test_rows(
            ImageFiles(root / competition.test_images, competition), test_ids, shape, memory, jobs
        ),
        *(
            (defect.image_id, "train", f"{competition.truth} row {defect.row}", defect.reason)
            for defect in check_rows(truth, competition, *shape)
        ),
        *_file_rows("train", files, unlisted, [f"no row in {competition.truth}"] * len(unlisted)),
    ]
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    count = len(train_ids) + len(damaged) + len(unlisted) + len(test_ids)
    _stop_if_too_many(quarantine, count, max_bad_share, root)
    bad_train = set(quarantine[quarantine.split == "train"].ImageId)
    extra = [name for name in train_ids if name not in bad_train] if truth.form.sparse else []
    kept = to_instances(truth, competition, *shape, images=extra, without=bad_train)
    if kept.empty:
        raise DataError(
            f"{root}: no training image is usable; the first defect: {_line(quarantine.iloc[0])}"
        )
    masks = _at_mask_size(kept, shape, competition)
    unusable = _unusable_test_ids(quarantine)
    return Catalog(competition, root, *shape, kept, masks, test_ids, unusable), quarantine


def _common_shape(
    train: pd.DataFrame, files: ImageFiles, competition: Competition
) -> tuple[int, int]:
    usable = train[train.defect == ""]
    if usable.empty:
        raise DataError(
            f"{files.folder}: none of the {len(train)} images that {competition.truth} lists can "
            f"be used; the first: {shown(train.index[0])}: {train.defect.iloc[0]}."
        )
    return int(usable.height.iloc[0]), int(usable.width.iloc[0])


def _at_mask_size(
    instances: pd.DataFrame, shape: tuple[int, int], competition: Competition
) -> pd.DataFrame:
    if competition.mask_shape is None:
        return instances
    texts = [shrink(text, shape, competition.mask_shape) for text in instances.EncodedPixels]
    return instances.assign(EncodedPixels=pd.Series(texts, dtype=str))


def check_test_folder(
    root: Path,
    competition: Competition,
    height: int,
    width: int,
    memory: Path,
    *,
    max_bad_share: float,
    jobs: int,
) -> tuple[Catalog, pd.DataFrame]:
    """Check the test images alone, as `check_folder` does, where nothing is learned.

    Args:
        root: Folder that holds at least the test images and the sample submission.
        competition: Whose it is.
        height: Of the images that the networks learned from, px.
        width: The same.
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
    rows = _test_rows(files, test_ids, (height, width), memory, jobs)
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    _stop_if_too_many(quarantine, len(test_ids), max_bad_share, root)
    none = pd.DataFrame(columns=columns_of(competition.classes), dtype=str)
    unusable = _unusable_test_ids(quarantine)
    return Catalog(competition, root, height, width, none, none, test_ids, unusable), quarantine


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
    files: ImageFiles, test_ids: Sequence[str], shape: tuple[int, int], memory: Path, jobs: int
) -> list[tuple[str, str, str, str]]:
    test = _verdicts(files, test_ids, memory, jobs)
    defects = [
        defect or ("" if (h, w) == shape else f"expected {shape[1]}x{shape[0]} px, got {w}x{h}")
        for defect, h, w in zip(test.defect, test.height, test.width, strict=True)
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
        reading=files.competition.reading,
    )
    found = dict(zip(paths, zip(seen.height, seen.width, seen.defect, strict=True), strict=True))
    rows = [found.get(image_id, (0, 0, name_defect(image_id))) for image_id in ids]
    return pd.DataFrame(rows, columns=["height", "width", "defect"], index=[*ids])


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
