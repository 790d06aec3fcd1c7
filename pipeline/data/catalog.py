"""The usable data of a run: which images there are and what is true of them.

`pipeline.data.check` makes a `Catalog` of a folder; later stages read it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd

from pipeline.config.competitions import Competition
from pipeline.config.schema import Config
from pipeline.data.files import ImageFiles
from pipeline.errors import DataError
from pipeline.jobs.artifacts import read_json, write_atomic, write_json
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.jobs.tables import read_table
from pipeline.masks.instances import of_class, read_instances, write_instances, write_rows
from pipeline.masks.sizes import Size, Sizes
from pipeline.masks.tables import read_masks

OUTPUTS = ["catalog.json", "instances.csv", "quarantine.csv"]
SHRUNK = "masks.csv"
SIZES = "sizes.csv"  # of each image, where they differ
SIZE_COLUMNS = ["split", "ImageId", "height", "width"]


@dataclass(frozen=True)
class LabelledImages:
    """Images and what is true of them.

    Attributes:
        paths: Path of each image.
        sizes: Of each.
        objects: For each class of each image the RLEs of its objects, an empty list for none.
    """

    paths: list[Path]
    sizes: list[Size]
    objects: list[list[str]]

    def __add__(self, others: Self) -> Self:
        """Put others behind these."""
        return replace(
            self,
            paths=self.paths + others.paths,
            sizes=self.sizes + others.sizes,
            objects=self.objects + others.objects,
        )


@dataclass(frozen=True)
class Catalog:
    """The usable data.

    Attributes:
        competition: Whose it is.
        root: Folder in the competition's layout.
        sizes: Of the training images.
        test_sizes: Of the test images.
        instances: Truth of the usable training images, at their size: `ImageId, EncodedPixels`,
            between the two `ClassId` where there are several classes.
        masks: The same at the size of submitted masks.
        test_ids: All images of the sample submission, in its order.
        unusable_test_ids: Those of them that cannot be decoded; their rows of the submission are
            blank.
    """

    competition: Competition
    root: Path
    sizes: Sizes
    test_sizes: Sizes
    instances: pd.DataFrame
    masks: pd.DataFrame
    test_ids: list[str]
    unusable_test_ids: list[str]

    @property
    def mask_sizes(self) -> Sizes:
        """Of the training images' masks, as they are submitted."""
        return self._of_masks(self.sizes)

    @property
    def test_mask_sizes(self) -> Sizes:
        """Of the test images' masks."""
        return self._of_masks(self.test_sizes)

    def _of_masks(self, sizes: Sizes) -> Sizes:
        shape = self.competition.mask_shape
        return sizes if shape is None else Sizes(shape)

    @property
    def train_ids(self) -> list[str]:
        """Usable training images, sorted."""
        return sorted(set(self.instances.ImageId))

    @property
    def usable_test_ids(self) -> list[str]:
        """Test images that can be predicted, in the sample submission's order."""
        unusable = set(self.unusable_test_ids)
        return [image_id for image_id in self.test_ids if image_id not in unusable]

    def objects(self, class_id: str | None = None) -> dict[str, list[str]]:
        """Return the RLEs of each training image's objects, an empty list for none.

        Args:
            class_id: Of this class; None: of all.
        """
        mine = self.instances if class_id is None else of_class(self.instances, class_id)
        return {
            str(image_id): [text for text in rows if text]
            for image_id, rows in mine.groupby("ImageId")["EncodedPixels"]
        }

    def labelled(self, image_ids: Sequence[str]) -> LabelledImages:
        """Return training images with their objects."""
        own = replace(self, instances=self.instances[self.instances.ImageId.isin(image_ids)])
        layers = [own.objects(class_id) for class_id in self.competition.classes]
        return LabelledImages(
            [self.train_path(image_id) for image_id in image_ids],
            [self.sizes[image_id] for image_id in image_ids],
            [objects[image_id] for image_id in image_ids for objects in layers],
        )

    def train_path(self, image_id: str) -> Path:
        """Path of a training image."""
        return self._train_files.path(image_id)

    def test_path(self, image_id: str) -> Path:
        """Path of a test image."""
        return self._test_files.path(image_id)

    @cached_property
    def _train_files(self) -> ImageFiles:
        return ImageFiles(self.root / self.competition.train_images, self.competition)

    @cached_property
    def _test_files(self) -> ImageFiles:
        return ImageFiles(self.root / self.competition.test_images, self.competition)

    def save(self, folder: Path, quarantine: pd.DataFrame) -> list[str]:
        """Write the catalog and the quarantine table; return the file names."""
        write_instances(folder / "instances.csv", self.instances)
        write_atomic(folder / "quarantine.csv", quarantine.to_csv(index=False).encode())
        height, width = (self.sizes == self.test_sizes and self.sizes.common) or (None, None)
        known = {"height": height, "width": width, "test_ids": self.test_ids}
        unusable = {"unusable_test_ids": self.unusable_test_ids}
        write_json(folder / "catalog.json", known | unusable)
        outputs = [*OUTPUTS]
        if height is None:
            write_rows(folder / SIZES, self._size_table())
            outputs.append(SIZES)
        if self.competition.mask_shape is not None:
            write_instances(folder / SHRUNK, self.masks)
            outputs.append(SHRUNK)
        return outputs

    def _size_table(self) -> pd.DataFrame:
        rows = [
            (split, image_id, *sizes[image_id])
            for split, ids, sizes in (
                ("train", self.train_ids, self.sizes),
                ("test", self.usable_test_ids, self.test_sizes),
            )
            for image_id in ids
        ]
        return pd.DataFrame(rows, columns=SIZE_COLUMNS)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Read the checked data of a run.

        Raises:
            ArtifactError: It is not checked yet, or what the check wrote was changed.
        """
        config = run.config
        return cls.load(run.result("data").folder, config.data_folder, config.task)

    @classmethod
    def load(cls, folder: Path, root: Path, competition: Competition) -> Self:
        """Read what `save` wrote, of images that are in `root` now.

        Raises:
            ArtifactError: It is not finished, or was changed.
        """
        job = Job("data", None, folder, {})
        known = read_json(job.checked("catalog.json"))
        height, width = known.pop("height"), known.pop("width")
        sizes = test_sizes = Sizes((height, width))
        if height is None:
            sizes, test_sizes = read_sizes(job.checked(SIZES))
        masks = instances = read_instances(job.checked("instances.csv"))
        if competition.mask_shape is not None:
            masks = read_instances(job.checked(SHRUNK))
        # Earlier versions wrote down where the data was then.
        now = {"competition": competition, "root": root, "instances": instances, "masks": masks}
        return cls(**known | now, sizes=sizes, test_sizes=test_sizes)


def read_sizes(path: Path) -> tuple[Sizes, Sizes]:
    """Read the sizes of the training and the test images, where they differ."""
    own: dict[str, dict[str, Size]] = {"train": {}, "test": {}}
    for split, image_id, height, width in read_table(path, SIZE_COLUMNS, advice=""):
        own[split][image_id] = int(height), int(width)
    sizes = Sizes.of_each(own["train"], (0, 0))
    return sizes, Sizes.of_each(own["test"], sizes.largest)


def read_test_truth(config: Config, catalog: Catalog) -> pd.DataFrame | None:
    """Read the instances of the test images: `data.test_truth`, or what the demo hides.

    Raises:
        DataError: The file cannot be read, or a row of it is wrong.
    """
    path, task = config.data.test_truth, catalog.competition
    if config.data.root is None and path is None:
        path = config.data_folder / task.hidden_truth
    if path is None:
        return None
    masks = read_masks(path, task, catalog.test_mask_sizes, images=catalog.test_ids)
    if wrong := sorted({*masks.ImageId} ^ {*catalog.test_ids}):
        raise DataError(
            f"{path} (data.test_truth): expected masks of the {len(catalog.test_ids)} images of "
            f"the sample submission; {len(wrong)} are only in one of both: {', '.join(wrong[:5])}. "
            "Correct the table, or give data.test_truth=null."
        )
    return masks
