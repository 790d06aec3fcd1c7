"""The image files of a data set, read as pixels.

Paths enter, uint8 arrays leave. Loader processes are forked: what is here lies in flat arrays,
which they share with their parent, so that a process's memory does not grow with the number of
images. A data set that fits in the memory the configuration gives it is decoded only once.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DataError


def read_image(path: Path, height: int, width: int) -> np.ndarray:
    """Read an image as uint8 (height, width, 3) RGB.

    Raises:
        DataError: The file is gone, cannot be decoded, or has not the size it was checked with.
    """
    image_hwc: np.ndarray | None = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image_hwc is not None and image_hwc.shape[:2] == (height, width):
        return image_hwc
    if image_hwc is not None:
        found = f"{image_hwc.shape[1]}x{image_hwc.shape[0]} px"
    else:
        found = "a damaged file" if path.exists() else "no file"
    raise DataError(
        f"{path}: expected the image of {width}x{height} px that was there when the data was "
        f"checked, got {found}. Restore it and run again."
    )


class Images:
    """Images of one size by number: `images[n]` is uint8 (height, width, 3) RGB, to be read only.

    Args:
        paths: Path of each image.
        height: Of every image, px.
        width: Of every image, px.
        cache_mib: If all images, decoded, fit in so much memory, each is kept once it is read.
    """

    def __init__(
        self, paths: Sequence[Path], height: int, width: int, *, cache_mib: int = 0
    ) -> None:
        encoded = [str(path).encode() for path in paths]
        self._names = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *(len(name) for name in encoded)])
        self.height, self.width = height, width
        shape = (len(encoded), height, width, 3)
        self._kept_nhwc: np.ndarray | None = None
        if 0 < np.prod(shape) <= cache_mib * 2**20:
            # Memory without a file, which forked processes share; it is taken page by page as the
            # images come. Two processes that read one image write the same bytes.
            memory = mmap.mmap(-1, int(np.prod(shape)))
            self._kept_nhwc = np.frombuffer(memory, np.uint8).reshape(shape)
        self._is_kept = np.zeros(len(encoded), dtype=bool)

    def __len__(self) -> int:
        return len(self._is_kept)

    def path(self, index: int) -> Path:
        """Return the path of an image."""
        name = self._names[self._ends[index] : self._ends[index + 1]]
        return Path(name.tobytes().decode())

    def __getitem__(self, index: int) -> np.ndarray:
        if self._kept_nhwc is None:
            return read_image(self.path(index), self.height, self.width)
        if not self._is_kept[index]:
            self._kept_nhwc[index] = read_image(self.path(index), self.height, self.width)
            self._is_kept[index] = True
        kept_hwc: np.ndarray = self._kept_nhwc[index]
        kept_hwc.flags.writeable = False
        return kept_hwc
