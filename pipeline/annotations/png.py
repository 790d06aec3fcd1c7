"""Masks as PNG files: maps of 16 bits that number an image's objects from 1 on, 0 for none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.annotations.annotation import Annotated
from pipeline.annotations.images import file_names
from pipeline.data.images import name_defect, shown
from pipeline.errors import DataError, about
from pipeline.masks.rle import decode_labels

MOST = 2**16 - 1


def write(out: Path, images: Iterable[Annotated], *, root: Path, classes: Sequence[str]) -> None:
    """Write `masks`, with a file for each image, named as it is but for the ending.

    Where there are several classes, `masks` holds a folder for each, `masks/<class>`, and each of
    them a file for each image. A map numbers the objects of its class in their order.

    Args:
        out: The folder.
        images: Images and their objects, one after the other.
        root: The folder of the images.
        classes: All names of classes.

    Raises:
        DataError: Objects of one class share pixels, there are more than 65,535 in an image, two
            images differ by their ending alone, or a class's name is not that of a folder.
    """
    folders = dict.fromkeys(classes, out / "masks")
    if len(classes) > 1:
        folders = {name: out / "masks" / name for name in classes}
    for own in classes if len(classes) > 1 else ():
        if "/" in own or name_defect(own):
            raise DataError(f"class {shown(own)}: expected the name of a folder. Rename it.")
    for image, name in file_names(images, root, ".png"):
        for class_name, folder in folders.items():
            with about(shown(image.path)):
                texts = [text for its_class, text in image.objects if its_class == class_name]
                if len(texts) > MOST:
                    raise DataError(f"{len(texts)} objects; 16 bits number {MOST} at most.")
                labels_hw = decode_labels(texts, image.height, image.width)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", labels_hw.astype(np.uint16))[1].tobytes())
