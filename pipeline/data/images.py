"""The image files of a data set, read as pixels.

Paths enter, uint8 arrays leave. `read_picture` takes any file and says what is wrong with it;
`read_image` is for files that it has accepted, gives the same pixels and is faster. Loader
processes are forked: what is here lies in flat arrays, which they share with their parent, so that
a process's memory does not grow with the number of images. A data set that fits in the memory the
configuration gives it is decoded only once.
"""

import errno
import io
import mmap
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.errors import DataError, about

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # an MPO is a JPEG with more pictures behind it
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
JPEG = b"\xff\xd8"
PLAIN_CHUNKS = frozenset(b"IHDR PLTE IDAT sRGB gAMA cHRM iCCP pHYs tIME bKGD sBIT".split())
NAME_BYTES = 255  # longest on all common file systems
PIXEL_BYTES = 16  # taken at most while a picture is read: Pillow's pixels, a converted copy, ours
MAX_PIXELS = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PIXEL_BYTES
MISSING = "missing"
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
# Pillow's own limit is far below a satellite's picture; MAX_PIXELS stands in its place.
Image.MAX_IMAGE_PIXELS = None

Picture = npt.NDArray[np.uint8]


class UnusableImageError(DataError):
    """A file that holds no picture as the pipeline takes it; the message is the reason alone."""


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


def list_images(folder: Path, pattern: str = "*") -> list[Path]:
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
    ends = (path for path in folder.glob(pattern) if path.suffix.lower() in ENDINGS)
    return sorted(
        path for path in ends if not any(p[0] == "." for p in path.relative_to(folder).parts)
    )


def read_picture(path: Path) -> Picture:
    """Read any file as uint8 (height, width, 3) RGB, upright, or say why it cannot be taken.

    Taken are JPEG (of an MPO the first picture), PNG, TIFF, BMP and WebP, known by their content:
    one picture in RGB, grey or a palette, with at most 8 bits a channel and nothing transparent.
    EXIF's orientation is followed: height and width are those of the upright picture.

    Raises:
        UnusableImageError: The file is missing, damaged, or of another kind.
        DataError: The system does not give the file. Neither message names it.
    """
    return _decode_strictly(_content(path))


def read_image(path: Path, height: int, width: int) -> Picture:
    """Read an image that `read_picture` has accepted, as uint8 (height, width, 3) RGB.

    Raises:
        DataError: The file is gone, cannot be decoded, or has not the size it was checked with.
    """
    with about(shown(path)):
        try:
            image_hwc = _decode(_content(path))
            if image_hwc.shape[:2] == (height, width):
                return image_hwc
            found = f"it has {image_hwc.shape[1]}x{image_hwc.shape[0]} px"
        except UnusableImageError as error:
            found = str(error)
        raise DataError(
            f"expected the image of {width}x{height} px that was there when the data was checked: "
            f"{found}. Restore it and run again."
        )


def read_luminance(path: Path) -> tuple[Picture, bytes]:
    """Read what `read_picture` takes as uint8 (height, width), upright, and return its bytes too.

    Nothing that `read_picture` refuses passes: a JPEG, which holds its luminance, is decoded to the
    last byte all the same, but its colours are not computed. That takes less than half the time.

    Raises:
        UnusableImageError: As `read_picture`.
        DataError: The same.
    """
    content = _content(path)
    return _decode_strictly(content, luminance=True), content


def unreadable(error: OSError) -> DataError:
    """Return what to raise for a file that the system does not give."""
    if error.errno in NOT_THERE:
        return UnusableImageError(MISSING)
    return DataError(
        f"cannot be read: {error.strerror}. The machine says so, not the file: see to permissions, "
        "limits and the disk, and run again."
    )


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableImageError("a folder or a device, not a file")
        if status.st_size > 4 * MAX_PIXELS:
            raise UnusableImageError(f"{status.st_size} bytes, which memory cannot hold")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(error) from error


def _decode(content: bytes) -> Picture:
    image_hwc = _decode_fast(content)
    return _decode_strictly(content) if image_hwc is None else image_hwc


def _decode_strictly(content: bytes, *, luminance: bool = False) -> Picture:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            defect = _defect(image)
            if defect:
                raise UnusableImageError(defect)
            if luminance and _holds_luminance(image, content):
                image.draft("L", None)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data:
                if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
                    raise UnusableImageError("expected 3 colours, got a fourth channel in use")
                image.info.pop("transparency", None)
            if luminance and image.mode == "L":
                return np.array(image)
            image_hwc = np.array(image if image.mode == "RGB" else image.convert("RGB"))
            return cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY) if luminance else image_hwc
    except UnusableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnusableImageError(
            f"not decodable: {len(content)} bytes that are no {', '.join(FORMATS)} of a known kind"
        ) from error
    # Decoders raise anything, MemoryError too, and all of it is due to the bytes they were given.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError(f"not decodable: {said}") from error


def _defect(image: ImageFile) -> str:
    """Say what of a file that is not yet decoded Pillow would change or drop; "" if nothing."""
    frames = getattr(image, "n_frames", 1)
    if image.width * image.height > MAX_PIXELS:
        return f"{image.width}x{image.height} px, of which memory holds {MAX_PIXELS} at most"
    if frames > 1 and image.format != "MPO":
        return f"expected one picture, got {frames}"
    if isinstance(image, TiffImageFile):
        return _tiff_defect(image)
    stored = str(image.tile)  # as Pillow calls it: RGB;16B, BGRX
    if image.mode not in MODES or ";16B" in stored:
        bits = " of 16 bits" if ";16B" in stored else ""
        return f"expected RGB, grey or a palette of 8 bits a channel, got {image.mode}{bits}"
    if image.format == "BMP" and "X" in stored:
        return "expected 3 colours, got a fourth channel of unknown meaning"
    return ""


def _tiff_defect(image: TiffImageFile) -> str:
    tags = image.tag_v2
    bits, kinds = np.atleast_1d(tags.get(258, 1)), np.atleast_1d(tags.get(339, 1))
    photometric, samples = tags.get(262), tags.get(277, 1)
    colours = {0: 1, 1: 1, 2: 3, 3: 1}.get(photometric)  # type: ignore[arg-type]
    if colours is None:
        return f"expected RGB, grey or a palette, got photometric interpretation {photometric}"
    if bits.max() > 8 or (kinds != 1).any():
        return f"expected whole numbers of 8 bits, got {bits.max()} bits of format {kinds.max()}"
    if samples != colours and (samples != colours + 1 or tags.get(338) not in ((1,), (2,))):
        return f"expected {colours} channels, or one more for transparency, got {samples}"
    if samples > 1 and tags.get(284, 1) != 1:
        return "expected a pixel's channels side by side, got a plane for each"
    return ""


def _holds_luminance(image: ImageFile, content: bytes) -> bool:
    """Tell whether Pillow may leave out a JPEG's colours.

    Not where they are sampled at an odd ratio, which only who computes them refuses.
    """
    if not isinstance(image, JpegImageFile) or not _is_upright_jpeg(content):
        return False
    _, across, down, _ = zip(*image.layer, strict=True)
    pairs = [(rate, max(rates)) for rates in (across, down) for rate in rates]
    return all(rate and most % rate == 0 for rate, most in pairs)


def _decode_fast(content: bytes) -> Picture | None:
    """Decode with OpenCV what it decodes to the pixels that Pillow gives; else return None."""
    try:
        if not (_is_upright_jpeg(content) or _is_plain_png(content)):
            return None
        pixels = np.frombuffer(content, np.uint8)
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded: Picture | None = cv2.imdecode(pixels, flags)
        return decoded
    except Exception:  # the strict reader says what is wrong
        return None


def _is_upright_jpeg(content: bytes) -> bool:
    """Tell whether these are a JPEG file's bytes that neither EXIF nor XMP turns."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1] not in (0xDA, 0xE1, 0xFF):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content[at : at + 2] != b"\xff\xe1":
        return content.startswith(JPEG) and content[at : at + 2] == b"\xff\xda"
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.getexif().get(Exif.Orientation, 1) not in range(2, 9)


def _is_plain_png(content: bytes) -> bool:
    """Tell whether these are a PNG file's bytes without transparency, frames, EXIF and texts."""
    at = 8
    while (chunk := content[at + 4 : at + 8]) in PLAIN_CHUNKS:
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return content.startswith(b"\x89PNG\r\n\x1a\n") and chunk == b"IEND"


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
        encoded = [os.fsencode(path) for path in paths]
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
        return Path(os.fsdecode(name.tobytes()))

    def __getitem__(self, index: int) -> np.ndarray:
        if self._kept_nhwc is None:
            return read_image(self.path(index), self.height, self.width)
        if not self._is_kept[index]:
            self._kept_nhwc[index] = read_image(self.path(index), self.height, self.width)
            self._is_kept[index] = True
        kept_hwc: np.ndarray = self._kept_nhwc[index]
        kept_hwc.flags.writeable = False
        return kept_hwc
