"""A folder in the competition's layout, checked: which images there are and what is true of them.

The folder enters; a `Catalog` of usable images and their instances leaves, beside a quarantine
table that names each image left out, where, and why. Nothing is dropped without a line in it.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from pipeline.config.schema import Config
from pipeline.data.images import list_images, name_defect, shown
from pipeline.data.verify import verify_images
from pipeline.errors import DataError
from pipeline.jobs.artifacts import read_json, sha256_file, write_atomic, write_json
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.masks.instances import COLUMNS, check_instances, read_instances, write_instances

TRAIN, TEST = "train_v2", "test_v2"
TRUTH, SAMPLE = "train_ship_segmentations_v2.csv", "sample_submission_v2.csv"
LAYOUT = (f"{TRAIN}/", f"{TEST}/", TRUTH, SAMPLE)
QUARANTINE = ["ImageId", "split", "where", "reason"]
OUTPUTS = ["catalog.json", "instances.csv", "quarantine.csv"]


@dataclass(frozen=True)
class Catalog:
    """The usable data.

    Attributes:
        root: Folder in the competition's layout.
        height: Of every image, px.
        width: Of every image, px.
        instances: Truth of the usable training images: `ImageId, EncodedPixels`.
        test_ids: All images of the sample submission, in its order.
        unusable_test_ids: Those of them that cannot be decoded; their rows of the submission are
            blank.
    """

    root: Path
    height: int
    width: int
    instances: pd.DataFrame
    test_ids: list[str]
    unusable_test_ids: list[str]

    @property
    def train_ids(self) -> list[str]:
        """Usable training images, sorted."""
        return sorted(set(self.instances.ImageId))

    @property
    def usable_test_ids(self) -> list[str]:
        """Test images that can be predicted, in the sample submission's order."""
        unusable = set(self.unusable_test_ids)
        return [image_id for image_id in self.test_ids if image_id not in unusable]

    def objects(self) -> dict[str, list[list[str]]]:
        """Return the RLEs of each training image's objects of each class, [] for none."""
        return {
            str(image_id): [[text for text in rows if text]]
            for image_id, rows in self.instances.groupby("ImageId")["EncodedPixels"]
        }

    def train_path(self, image_id: str) -> Path:
        """Path of a training image."""
        return self.root / TRAIN / image_id

    def test_path(self, image_id: str) -> Path:
        """Path of a test image."""
        return self.root / TEST / image_id

    def save(self, folder: Path, quarantine: pd.DataFrame) -> list[str]:
        """Write the catalog and the quarantine table; return the file names."""
        write_instances(folder / "instances.csv", self.instances)
        write_atomic(folder / "quarantine.csv", quarantine.to_csv(index=False).encode())
        write_json(
            folder / "catalog.json",
            {
                "height": self.height,
                "width": self.width,
                "test_ids": self.test_ids,
                "unusable_test_ids": self.unusable_test_ids,
            },
        )
        return OUTPUTS

    @classmethod
    def of(cls, run: Run) -> Self:
        """Read the checked data of a run.

        Raises:
            ArtifactError: It is not checked yet, or what the check wrote was changed.
        """
        return cls.load(run.result("data").folder, run.config.data_folder)

    @classmethod
    def load(cls, folder: Path, root: Path) -> Self:
        """Read what `save` wrote, of images that are in `root` now.

        Raises:
            ArtifactError: It is not finished, or was changed.
        """
        job = Job("data", None, folder, {})
        known = read_json(job.checked("catalog.json"))
        instances = read_instances(job.checked("instances.csv"))
        # Earlier versions wrote down where the data was then.
        return cls(**known | {"root": root, "instances": instances})


def has_layout(root: Path) -> bool:
    """Tell whether everything of the competition's layout is in `root`."""
    return not _missing(root)


def _missing(root: Path) -> list[str]:
    return [part for part in LAYOUT if not ((root / part).is_dir() or (root / part).is_file())]


def read_test_truth(config: Config) -> pd.DataFrame | None:
    """Read the instances of the test images: `data.test_truth`, or what the demo hides.

    Raises:
        DataError: The file cannot be read.
    """
    path = config.data.test_truth
    if config.data.root is None and path is None:
        path = config.data_folder / "hidden" / "test_ship_segmentations_v2.csv"
    return None if path is None else read_instances(path)


def fingerprint(root: Path) -> dict[str, str]:
    """Return what tells this folder's content from another's without opening an image.

    Raises:
        DataError: A part of the layout is missing.
    """
    missing = _missing(root)
    if missing:
        raise DataError(
            f"{root}: expected the competition's files {', '.join(LAYOUT)}; not there: "
            f"{', '.join(missing)}. Point data.root to the folder that holds them."
        )
    prints = {table: sha256_file(root / table) for table in (TRUTH, SAMPLE)}
    for folder in (TRAIN, TEST):
        with os.scandir(root / folder) as entries:
            listing = sorted(
                f"{entry.name} {_size(Path(entry))}"
                for entry in entries
                if not entry.name.startswith(".")  # what file managers leave behind
            )
        digest = hashlib.sha256(os.fsencode("\n".join(listing))).hexdigest()
        prints[folder] = f"{len(listing)} files {digest}"
    return prints


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1  # a link that leads nowhere


def check_folder(
    root: Path, memory: Path, *, max_bad_share: float, jobs: int, signatures: Path | None = None
) -> tuple[Catalog, pd.DataFrame]:
    """Check every row and every image of a folder.

    Args:
        root: Folder in the competition's layout.
        memory: Where verdicts on image files are remembered.
        max_bad_share: Largest share of images that may be left out.
        jobs: Threads that decode.
        signatures: Store that gets the signatures of training images; None: of none.

    Returns:
        The catalog, and the quarantine table `ImageId, split, where, reason`.

    Raises:
        DataError: A table cannot be read, no image is usable, or too many are not.
    """
    instances = _read_some(root / TRUTH)
    test_ids = _read_test_ids(root)
    train_ids = sorted(set(instances.ImageId))
    train = _verdicts(root / TRAIN, train_ids, memory, jobs, signatures)
    usable = train[train.defect == ""]
    if usable.empty:
        raise DataError(
            f"{root / TRAIN}: none of the {len(train_ids)} images that {TRUTH} lists can be used; "
            f"the first: {shown(train_ids[0])}: {train.defect.iloc[0]}."
        )
    height, width = int(usable.height.iloc[0]), int(usable.width.iloc[0])
    unlisted = _unlisted(root / TRAIN, train_ids, TRUTH)
    rows = [
        *_file_rows("train", train_ids, train.defect),
        *_test_rows(root, test_ids, (height, width), memory, jobs),
        *(
            (defect.image_id, "train", f"{TRUTH} row {defect.row}", defect.reason)
            for defect in check_instances(instances, height, width, str(root / TRUTH))
        ),
        *unlisted,
    ]
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    count = len(train_ids) + len(unlisted) + len(test_ids)
    _stop_if_too_many(quarantine, count, max_bad_share, root)
    bad_train = set(quarantine[quarantine.split == "train"].ImageId)
    kept = instances[~instances.ImageId.isin(bad_train)].reset_index(drop=True)
    if kept.empty:
        raise DataError(
            f"{root}: no training image is usable; the first defect: {_line(quarantine.iloc[0])}"
        )
    return Catalog(root, height, width, kept, test_ids, _unusable_test_ids(quarantine)), quarantine


def check_test_folder(
    root: Path, height: int, width: int, memory: Path, *, max_bad_share: float, jobs: int
) -> tuple[Catalog, pd.DataFrame]:
    """Check the test images alone, as `check_folder` does, where nothing is learned.

    Args:
        root: Folder that holds at least the test images and the sample submission.
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
    test_ids = _read_test_ids(root)
    rows = _test_rows(root, test_ids, (height, width), memory, jobs)
    quarantine = pd.DataFrame(rows, columns=QUARANTINE)
    _stop_if_too_many(quarantine, len(test_ids), max_bad_share, root)
    none = pd.DataFrame(columns=COLUMNS, dtype=str)
    return Catalog(root, height, width, none, test_ids, _unusable_test_ids(quarantine)), quarantine


def _read_test_ids(root: Path) -> list[str]:
    """The sample has each image once, whatever number of rows it gives it."""
    return list(dict.fromkeys(_read_some(root / SAMPLE).ImageId))


def _test_rows(
    root: Path, test_ids: Sequence[str], shape: tuple[int, int], memory: Path, jobs: int
) -> list[tuple[str, str, str, str]]:
    test = _verdicts(root / TEST, test_ids, memory, jobs)
    defects = [
        defect or ("" if (h, w) == shape else f"expected {shape[1]}x{shape[0]} px, got {w}x{h}")
        for defect, h, w in zip(test.defect, test.height, test.width, strict=True)
    ]
    return _file_rows("test", test_ids, defects)


def _verdicts(
    folder: Path, ids: Sequence[str], memory: Path, jobs: int, signatures: Path | None = None
) -> pd.DataFrame:
    """Verify the image of each id; one that cannot name a file has no file to look at."""
    paths = {image_id: folder / image_id for image_id in ids if not name_defect(image_id)}
    seen = verify_images([*paths.values()], memory, jobs=jobs, signatures=signatures)
    found = dict(zip(paths, zip(seen.height, seen.width, seen.defect, strict=True), strict=True))
    rows = [found.get(image_id, (0, 0, name_defect(image_id))) for image_id in ids]
    return pd.DataFrame(rows, columns=["height", "width", "defect"])


def _unusable_test_ids(quarantine: pd.DataFrame) -> list[str]:
    return quarantine[quarantine.split == "test"].ImageId.tolist()


def _read_some(path: Path) -> pd.DataFrame:
    rows = read_instances(path)
    if rows.empty:
        raise DataError(f"{path}: expected a row for every image, got only the header.")
    return rows


def _file_rows(
    split: str, ids: Sequence[str], defects: Sequence[str] | pd.Series
) -> list[tuple[str, str, str, str]]:
    folder = TRAIN if split == "train" else TEST
    return [
        (image_id, split, f"{folder}/{shown(image_id)}", defect)
        for image_id, defect in zip(ids, defects, strict=True)
        if defect
    ]


def _unlisted(folder: Path, ids: Sequence[str], table: str) -> list[tuple[str, str, str, str]]:
    """Name images that no row speaks of: without truth they can be neither trained nor scored."""
    listed = set(ids)
    found = {str(path.relative_to(folder)): path for path in list_images(folder, "**/*")}
    return [
        (shown(name), "train", f"{folder.name}/{shown(name)}", f"no row in {table}")
        for name, path in found.items()
        if name not in listed and path.is_file()
    ]


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
