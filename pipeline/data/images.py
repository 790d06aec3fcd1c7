"""The image files of a data set, read as pixels.

Paths enter, uint8 arrays leave. `read_picture` takes any file and says what is wrong with it;
`read_image` is for files that it has accepted, gives the same pixels and is faster. Loader
processes are forked: what is here lies in flat arrays, which they share with their parent, so that
a process's memory does not grow with the number of images. A data set that fits in the memory the
configuration gives it is decoded only once.
"""

import errno
import mmap
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config.competitions import image_readers
from pipeline.config.reading import STRICT, Reading
from pipeline.data import decoding
from pipeline.data.decoding import Picture, UnusableImageError, decode, decode_strictly
from pipeline.errors import DataError, PipelineError, about

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
NAME_BYTES = 255  # longest on all common file systems
MISSING = "missing"
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


def shown(name: object) -> str:
    """Return a file's name as messages and tables can hold it, whatever bytes it is made of."""
    return str(name) if str(name).isprintable() else repr(str(name))


def name_defect(name: str, appended: str = ".png") -> str:
    """Say what keeps `name`, such as an ImageId, from naming a file below a folder; "" if nothing.

    Args:
        name: May lead into folders, `a/b.jpg`.
        appended: The longest ending that the pipeline gives to a file of its own of that name.
    """
    parts = name.split("/")
    if str(PurePosixPath(name)) != name or {"", ".", ".."} & {*parts}:
        return "its name is not that of a file in the folder"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "its name has control characters or is not UTF-8"
    excess = max(len(part.encode()) for part in parts) + len(appended) - NAME_BYTES
    return f"its name is {excess} bytes too long" if excess > 0 else ""


def list_images(folder: Path, pattern: str = "*", endings: Sequence[str] = ENDINGS) -> list[Path]:
    """Return what ends like an image in a folder, by name; with `**/*`, also in those below.

    Hidden files are none: systems leave their own beside images, with names like `._a.jpg`.

    Raises:
        DataError: The folder cannot be read.
    """
    with about(shown(folder)):
        try:
            os.scandir(folder).close()  # which glob would take for an empty one
        except OSError as error:
            raise unreadable(error) from error
    ends = (path for path in folder.glob(pattern) if path.suffix.lower() in endings)
    return sorted(
        path for path in ends if not any(p[0] == "." for p in path.relative_to(folder).parts)
    )


def read_picture(path: Path, reading: Reading = STRICT) -> Picture:
    """Read any file as uint8 (height, width, 3) RGB, upright, or say why it cannot be taken.

    Taken are JPEG (of an MPO the first picture), PNG, TIFF, BMP and WebP, known by their content:
    one picture in RGB, grey or a palette; what is transparent, or has more than 8 bits a channel,
    as `reading` says.
    EXIF's orientation is followed: height and width are those of the upright picture. A file that
    is no picture is read by its competition, known by the file's ending.

    Raises:
        UnusableImageError: The file is missing, damaged, or of another kind.
        DataError: The system does not give the file. Neither message names it.
    """
    image_hwc = _read_by_ending(path)
    return decode_strictly(_content(path), reading) if image_hwc is None else image_hwc


def read_image(path: Path, height: int, width: int, reading: Reading = STRICT) -> Picture:
    """Read an image that `read_picture` has accepted, as uint8 (height, width, 3) RGB.

    Raises:
        DataError: The file is gone, cannot be decoded, or has not the size it was checked with.
    """
    with about(shown(path)):
        try:
            read_hwc = _read_by_ending(path)
            image_hwc = decode(_content(path), reading) if read_hwc is None else read_hwc
            if image_hwc.shape[:2] == (height, width):
                return image_hwc
            found = f"it has {image_hwc.shape[1]}x{image_hwc.shape[0]} px"
        except UnusableImageError as error:
            found = str(error)
        raise DataError(
            f"expected the image of {width}x{height} px that was there when the data was checked: "
            f"{found}. Restore it and run again."
        )


def read_luminance(path: Path, reading: Reading = STRICT) -> tuple[Picture, bytes]:
    """Read what `read_picture` takes as uint8 (height, width), upright, and return its bytes too.

    Of a file that is no picture no bytes are returned.

    Nothing that `read_picture` refuses passes: a JPEG, which holds its luminance, is decoded to the
    last byte all the same, but its colours are not computed. That takes less than half the time.

    Raises:
        UnusableImageError: As `read_picture`.
        DataError: The same.
    """
    image_hwc = _read_by_ending(path)
    if image_hwc is not None:
        return cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY), b""
    content = _content(path)
    return decode_strictly(content, reading, luminance=True), content


def unreadable(error: OSError) -> DataError:
    """Return what to raise for a file that the system does not give."""
    if error.errno in NOT_THERE:
        return UnusableImageError(MISSING)
    return DataError(
        f"cannot be read: {error.strerror}. The machine says so, not the file: see to permissions, "
        "limits and the disk, and run again."
    )


def _read_by_ending(path: Path) -> Picture | None:
    """Read a file that is no picture, as its competition says; None for any other."""
    name = str(path)
    reader = next((read for ending, read in image_readers().items() if name.endswith(ending)), None)
    if reader is None:
        return None
    try:
        return reader(path)
    except PipelineError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise unreadable(error) from error
        raise UnusableImageError(f"not decodable: {error}") from error
    # Readers raise anything, as decoders do.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError(f"not decodable: {said}") from error


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableImageError("a folder or a device, not a file")
        if status.st_size > 4 * decoding.MAX_PIXELS:
            raise UnusableImageError(f"{status.st_size} bytes, which memory cannot hold")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(error) from error


class Images:
    """Images by number: `images[n]` is uint8 (height, width, 3) RGB, to be read only.

    Args:
        paths: Path of each image.
        sizes: Height and width, px: of each image, (n, 2), or of all of them, (2,).
        reading: How they are read.
        cache_mib: If all images, decoded, fit in so much memory, each is kept once it is read.

    Attributes:
        sizes: Of each image, (n, 2).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: npt.ArrayLike,
        *,
        reading: Reading = STRICT,
        cache_mib: int = 0,
    ) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._names = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *(len(name) for name in encoded)])
        self._reading = reading
        self.sizes = np.broadcast_to(np.asarray(sizes, np.int64), (len(encoded), 2))
        self._byte_ends = np.cumsum([0, *3 * self.sizes.prod(axis=1)])
        count = int(self._byte_ends[-1])
        self._kept: np.ndarray | None = None
        if 0 < count <= cache_mib * 2**20:
            # Memory without a file, which forked processes share; it is taken page by page as the
            # images come. Two processes that read one image write the same bytes.
            self._kept = np.frombuffer(mmap.mmap(-1, count), np.uint8)
        self._is_kept = np.zeros(len(encoded), dtype=bool)

    def __len__(self) -> int:
        return len(self._is_kept)

    def path(self, index: int) -> Path:
        """Return the path of an image."""
        name = self._names[self._ends[index] : self._ends[index + 1]]
        return Path(os.fsdecode(name.tobytes()))

    def __getitem__(self, index: int) -> np.ndarray:
        if self._kept is None:
            return self._read(index)
        first, end = self._byte_ends[index : index + 2]
        kept_hwc: np.ndarray = self._kept[first:end].reshape(*self.sizes[index], 3)
        if not self._is_kept[index]:
            kept_hwc[:] = self._read(index)
            self._is_kept[index] = True
        kept_hwc.flags.writeable = False
        return kept_hwc

    def _read(self, index: int) -> Picture:
        height, width = self.sizes[index].tolist()
        return read_image(self.path(index), height, width, self._reading)
