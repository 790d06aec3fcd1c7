"""What a competition is: its files, its tables, its masks and its metric, in one description.

Each is a file of `pipeline.competitions` with one `COMPETITION`; a configuration names it. Nothing
else in the pipeline knows a competition by name.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, field_validator

from pipeline.config.describe import nearest
from pipeline.config.earlier import Neutral
from pipeline.config.extensions import modules_in
from pipeline.config.fields import Section
from pipeline.config.reading import STRICT, Reading

FIRST: str = importlib.import_module("pipeline.competitions").FIRST
"""The competition of runs that name none."""

ObjectMetric = Literal["ap", "f2", "pooled_ap"]
"""The metrics of `pipeline.metrics` that match objects."""
MaskMetric = Literal["dice", "global_dice", "mask_ap"]
"""Those of whole masks."""


@dataclass(frozen=True)
class Rle:
    """How a mask is written as numbers.

    Attributes:
        order: Pixels are counted down the columns, or along the rows.
        first: Number of the first pixel.
        relative: Whether a start counts from the end of the run before.
        ends: Whether a run's second number is its last pixel, not its length.
        empty: What stands for a mask without pixels.
    """

    order: Literal["columns", "rows"] = "columns"
    first: Literal[0, 1] = 1
    relative: bool = False
    ends: bool = False
    empty: str = ""


@dataclass(frozen=True)
class TableForm:
    """The columns of a table of masks, in their order.

    Attributes:
        columns: All of them; blanks around a name in a file do not count.
        image: The column of the image's id; with `joined` of `<image>_<class>`.
        pixels: The column of the mask.
        class_id: The column of the class, if there is one.
        joined: Whether image and class stand in one column.
        sparse: Whether only masks with pixels have a row, so that an image may have none.
    """

    columns: tuple[str, ...]
    image: str
    pixels: str
    class_id: str | None = None
    joined: bool = False
    sparse: bool = False


Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StandIn:
    """What the rendered stand-in for a competition's data shows, see `pipeline.data.stand_in`.

    Attributes:
        shape: Height and width of an image, px.
        ending: Of the images' ids.
        sizes: Smallest and largest half axis of an object, as shares of the image's shorter side.
        most: Objects in an image at most.
        one_class: Whether all objects of an image are of one class.
    """

    shape: tuple[int, int] = (256, 256)
    ending: str = ""
    sizes: tuple[float, float] = (0.08, 0.25)
    most: int = 4
    one_class: bool = False


@dataclass(frozen=True)
class Competition:
    """All that the pipeline must know of a competition.

    Attributes:
        name: As configurations call it, and its file.
        title: As people call it.
        source: The organiser's pages that say so.
        slug: At Kaggle; None for none.
        train_images: Folder of the training images.
        test_images: Folder of the test images.
        truth: File of the training images' masks.
        sample: File of the sample submission.
        test_optional: Whether test images and sample submission may both be left out.
        hidden_truth: File of the test images' masks, which a stand-in has.
        truth_forms: Forms that the truth comes in.
        sample_forms: Forms that the sample comes in; the submission has that of the sample.
        rle: Of both.
        classes: Ids of the classes as the tables have them, in their order; one name where the
            tables tell none; () where the configuration says.
        objects: Whether a row is one of an image's objects; else one mask an image (and class).
        metric: Its name in `pipeline.metrics`.
        object_name: One object, and several of them, in sentences.
        stand_in: What is drawn for its data where there is none.
        mask_shape: Height and width of submitted masks, px; None: as the images.
        sizes_differ: Whether images may differ in size; else those that do are left out.
        overlaps: Whether true objects may share pixels; those are taken as the smallest one's.
        unites: Whether several rows of one mask are united; else there is one.
        endings: What an image's file has behind the id in the tables, "" if the id holds it, and
            what reads uint8 (h, w, 3) of it where it is no picture. The first that is there counts.
        reading: How its pictures are read.
        nested: Whether images may lie in folders of their own below theirs.
        marks: Scores of its leaderboard to compare with, by what they are.
        read_truth: Returns the mask of an image at a path without ending, in the numbers of `rle`,
            where the truth is no table.
        write_image: Writes an image, uint8 (h, w, 3), and its mask, uint8 (h, w) or None, under a
            path without ending, where it is no picture.
        render_demo: Fills a folder with a stand-in for its data, where it has one of its own; see
            `pipeline.data.demo`.
    """

    name: str
    title: str
    source: str
    slug: str | None
    train_images: str
    test_images: str
    truth: str
    sample: str
    truth_forms: tuple[TableForm, ...]
    sample_forms: tuple[TableForm, ...]
    classes: tuple[str, ...]
    objects: bool
    metric: str
    object_name: tuple[str, str]
    test_optional: bool = False
    hidden_truth: str = "hidden/test_truth.csv"
    stand_in: StandIn = StandIn()
    rle: Rle = Rle()
    mask_shape: tuple[int, int] | None = None
    sizes_differ: bool = False
    overlaps: bool = False
    unites: bool = False
    endings: dict[str, Callable[[Path], Image] | None] = field(default_factory=lambda: {"": None})
    reading: Reading = STRICT
    nested: bool = False
    marks: dict[str, float] = field(default_factory=dict)
    read_truth: Callable[[Path], str] | None = None
    write_image: Callable[[Path, Image, Image | None], None] | None = None
    render_demo: Callable[..., None] | None = None

    @property
    def layout(self) -> tuple[str, ...]:
        """What a complete folder of its data holds; folders end in a slash."""
        return f"{self.train_images}/", f"{self.test_images}/", self.truth, self.sample

    @property
    def test_layout(self) -> tuple[str, ...]:
        """What of it the test images are."""
        return f"{self.test_images}/", self.sample


def _known(name: str) -> str:
    if name not in competitions():
        raise ValueError(f"unknown competition {name!r}.{nearest(name, competitions())}")
    return name


CompetitionName = Annotated[str, AfterValidator(_known)]
ClassId = Annotated[str, Field(pattern=r"^[^\s,\"][^,\"]*$", max_length=60)]


ANY_CLASS = "object"


class OwnData(Section):
    """What images of your own show, where no competition says it: see `competitions/masks.py`.

    `classes` are named as in the tables; of one, the tables name none. With `objects` each row is
    one object, else an image, and a class, has one mask.
    """

    classes: Annotated[list[ClassId], Field(min_length=1), Neutral([ANY_CLASS])]
    objects: Annotated[bool, Neutral(True)]

    @field_validator("classes")
    @classmethod
    def _different(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError(f"expected classes that differ, got {', '.join(classes)}.")
        return classes


@cache
def competitions() -> dict[str, Competition]:
    """Return every competition by name."""
    return {module.COMPETITION.name: module.COMPETITION for module in modules_in("competitions")}


def own_masks(task: Competition) -> Competition:
    """Return how images of one's own, of a competition's classes and objects, lie in a folder."""
    own = next(each for each in competitions().values() if not each.classes)
    return replace(
        own,
        classes=task.classes,
        objects=task.objects,
        overlaps=task.overlaps,
        reading=task.reading,
    )


@cache
def image_readers() -> dict[str, Callable[[Path], Image]]:
    """Return what reads the image files that are no pictures, by their ending."""
    return {
        ending: reader
        for competition in competitions().values()
        for ending, reader in competition.endings.items()
        if reader is not None
    }
