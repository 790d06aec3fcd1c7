"""The image files that annotations name, and their sizes."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Exif

from pipeline.annotations.annotation import Annotated, RefusalError, Source
from pipeline.config.competitions import image_readers
from pipeline.data.decoding import FORMATS
from pipeline.data.images import read_picture, shown
from pipeline.errors import DataError

TURNING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # parts of a PNG that may say how it is turned


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image as it is read, upright, px, from the file's header.

    Raises:
        DataError: The file holds no image. The message does not name it.
    """
    if any(path.name.endswith(ending) for ending in image_readers()):
        height, width = read_picture(path).shape[:2]
        return height, width
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # Pillow decodes a PNG to find what may stand behind its pixels.
            plain = image.format == "PNG" and not any(kind in content for kind in TURNING)
            turned = not plain and image.getexif().get(Exif.Orientation, 1) in range(5, 9)
            return (image.width, image.height) if turned else (image.height, image.width)
    except UnidentifiedImageError:
        raise DataError(f"expected an image ({', '.join(FORMATS)}), got another file") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error


def folders_of(source: Source) -> list[Path]:
    """Return where the images of one file of annotations may lie."""
    near = source.path.parent
    return [source.images] if source.images else [near, near / "images", near.parent / "images"]


def find_image(name: object, folders: Sequence[Path]) -> Path:
    """Return the file of an image that an annotation names.

    Args:
        name: As the annotation has it, with its folders. Where these are another machine's, or
            lead out of a folder, its last part alone may be meant.
        folders: Where it may lie, the likeliest first.

    Raises:
        RefusalError: It is in none of them.
    """
    if not isinstance(name, str) or not name:
        raise RefusalError(f"expected the name of an image file, got {name!r}", "Give its name.")
    below = PurePosixPath(name.replace("\\", "/"))
    names = [below, PurePosixPath(below.name)]
    if below.is_absolute() or name[1:2] == ":":
        names = names[1:]
    elif ".." not in below.parts:
        names = names[:1]
    for path in (folder / each for folder in folders for each in names):
        with suppress(OSError):  # such as a name that no file can have
            if path.is_file():
                return path
    looked = ", ".join(shown(folder) for folder in dict.fromkeys(folders))
    raise RefusalError(
        f"no image {shown(name)} in {looked}", "Put it there, or name its folder with --images."
    )


def checked_size(path: Path, height: object, width: object) -> tuple[int, int]:
    """Return height and width of an image, px, which may have been told as well.

    Args:
        path: Its file.
        height: As the annotation tells it, None if it does not.
        width: The same.

    Raises:
        RefusalError: The file is no image, or has another size than was told.
    """
    try:
        size = image_size(path)
    except DataError as error:
        raise RefusalError(f"{shown(path)}: {error}", "Replace the file.") from None
    for side, told in zip(size, (height, width), strict=True):
        if told is not None and str(told) != str(side):
            raise RefusalError(
                f"expected the image of {width}x{height} px that was annotated, got {shown(path)} "
                f"of {size[1]}x{size[0]} px",
                "Restore the image that was annotated, or correct the size in the annotation.",
            )
    return size


def file_names(
    images: Iterable[Annotated], root: Path, ending: str
) -> Iterator[tuple[Annotated, Path]]:
    """Give each image the name of a file of its own: its own below `root`, with another ending.

    Raises:
        DataError: Two of the images differ by their ending alone.
    """
    taken: dict[Path, Path] = {}
    for image in images:
        name = image.path.relative_to(root).with_suffix(ending)
        if name in taken:
            raise DataError(
                f"{shown(image.path)}: expected images that differ by more than their ending, got "
                f"{shown(taken[name].name)} as well. Rename one, or take another form."
            )
        taken[name] = image.path
        yield image, name
