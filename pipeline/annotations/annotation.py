"""An image and its objects, as every form of annotation comes down to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """What is to be read.

    Attributes:
        path: The file or folder of annotations.
        images: The folder of the images, where it is not as the form has it.
        crowds: Whether regions that stand for several objects are taken as one.
    """

    path: Path
    images: Path | None = None
    crowds: bool = False


@dataclass(frozen=True)
class Annotated:
    """An image as a file describes it.

    Attributes:
        path: Of the image file.
        height: Of the image as it is read, upright, px.
        width: The same.
        objects: Of each the name of its class and its pixels, in the pipeline's RLE with runs as
            long as they can be; in the order of the file. They may share pixels.
        where: The file that describes it, for messages.
    """

    path: Path
    height: int
    width: int
    objects: list[tuple[str, str]]
    where: str


@dataclass(frozen=True)
class Rejected:
    """What cannot be taken.

    Attributes:
        where: The file.
        item: The row, object or image in it; "" for all of it.
        reason: What is wrong, what was expected and what was found.
        advice: What to do.
    """

    where: str
    item: str
    reason: str
    advice: str


class RefusalError(Exception):
    """Something that cannot be taken; `listed` enters it where the place is known.

    Args:
        reason: As `Rejected` has it.
        advice: The same.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@contextmanager
def listed(rejected: list[Rejected], where: str, item: str) -> Iterator[None]:
    """Enter a refusal of what is done here in a list, and go on behind it."""
    try:
        yield
    except RefusalError as refusal:
        rejected.append(Rejected(where, item, refusal.reason, refusal.advice))
