"""The usable data of a run: which images there are and what is true of them.

`pipeline.data.check` makes a `Catalog` of a folder; later stages read it again.
"""

from dataclasses import dataclass
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
from pipeline.masks.instances import of_class, read_instances, write_instances
from pipeline.masks.tables import read_masks

OUTPUTS = ["catalog.json", "instances.csv", "quarantine.csv"]
SHRUNK = "masks.csv"


@dataclass(frozen=True)
class Catalog:
    """The usable data.

    Attributes:
        competition: Whose it is.
        root: Folder in the competition's layout.
        height: Of every image, px.
        width: Of every image, px.
        instances: Truth of the usable training images, at their size: `ImageId, EncodedPixels`,
            between the two `ClassId` where there are several classes.
        masks: The same at the size of submitted masks.
        test_ids: All images of the sample submission, in its order.
        unusable_test_ids: Those of them that cannot be decoded; their rows of the submission are
            blank.
    """

    competition: Competition
    root: Path
    height: int
    width: int
    instances: pd.DataFrame
    masks: pd.DataFrame
    test_ids: list[str]
    unusable_test_ids: list[str]

    @property
    def mask_shape(self) -> tuple[int, int]:
        """Height and width of submitted masks, px."""
        return self.competition.mask_shape or (self.height, self.width)

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
        write_json(
            folder / "catalog.json",
            {
                "height": self.height,
                "width": self.width,
                "test_ids": self.test_ids,
                "unusable_test_ids": self.unusable_test_ids,
            },
        )
        if self.competition.mask_shape is None:
            return OUTPUTS
        write_instances(folder / SHRUNK, self.masks)
        return [*OUTPUTS, SHRUNK]

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
        masks = instances = read_instances(job.checked("instances.csv"))
        if competition.mask_shape is not None:
            masks = read_instances(job.checked(SHRUNK))
        # Earlier versions wrote down where the data was then.
        now = {"competition": competition, "root": root, "instances": instances, "masks": masks}
        return cls(**known | now)


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
    masks = read_masks(path, task, *catalog.mask_shape, images=catalog.test_ids)
    if wrong := sorted({*masks.ImageId} ^ {*catalog.test_ids}):
        raise DataError(
            f"{path} (data.test_truth): expected masks of the {len(catalog.test_ids)} images of "
            f"the sample submission; {len(wrong)} are only in one of both: {', '.join(wrong[:5])}. "
            "Correct the table, or give data.test_truth=null."
        )
    return masks
