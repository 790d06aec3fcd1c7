"""What is predicted: pixels that are read box by box, and a picture, which lies in memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from pipeline.config.reading import Reading
from pipeline.data.images import read_picture
from pipeline.inference.regions import Box

Valid = npt.NDArray[np.bool_]
Image = npt.NDArray[np.uint8]


class Pixels(Protocol):
    """An image that need not fit in memory."""

    @property
    def name(self) -> str:
        """Its file's, unique among all that are predicted together."""

    @property
    def height(self) -> int:
        """Of the grid that is predicted, px."""

    @property
    def width(self) -> int:
        """The same."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the pixels, as JSON values."""

    def read(self, box: Box) -> tuple[Image, Valid]:
        """Return the pixels of a box within the image, uint8 (h, w, 3), RGB, and which are valid.

        Whatever boxes are read, a pixel is the same.

        Raises:
            DataError: They cannot be read.
        """


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in memory, all of it valid.

    Attributes:
        name: Its file's.
        image_hwc: uint8 (h, w, 3), RGB.
    """

    name: str
    image_hwc: Image

    @classmethod
    def from_file(cls, path: Path, name: str, reading: Reading) -> Self:
        """Read a picture as stage 0 would.

        Raises:
            DataError: It cannot be read; the message does not name it.
        """
        return cls(name, read_picture(path, reading))

    @property
    def height(self) -> int:
        """Of the picture, px."""
        return len(self.image_hwc)

    @property
    def width(self) -> int:
        """The same."""
        return len(self.image_hwc[0])

    @property
    def identity(self) -> dict[str, Any]:
        """Name, size and SHA-256 of the pixels."""
        sha256 = hashlib.sha256(self.image_hwc.tobytes()).hexdigest()
        return {"name": self.name, "size": [self.height, self.width], "pixels_sha256": sha256}

    def read(self, box: Box) -> tuple[Image, Valid]:
        """Return the pixels of a box."""
        return self.image_hwc[box.slices], np.ones(box.shape, np.bool_)
