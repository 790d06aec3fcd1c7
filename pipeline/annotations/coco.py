"""COCO's JSON: `images`, `categories` and, in any order, `annotations`.

Of an annotation `segmentation` counts: polygons, which are united, or a mask, compressed or not. A
list of polygons has no holes: objects that have some are written as masks. Polygons written here
are decoded by pycocotools to the same pixels as by this reader.

Source: the format's page, https://cocodataset.org/#format-data.
"""

import json
import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotation import Annotated, RefusalError, Rejected, Source, listed
from pipeline.annotations.coco_rle import compress, from_counts, to_counts
from pipeline.annotations.images import checked_size, find_image, folders_of
from pipeline.annotations.json_elements import elements
from pipeline.annotations.polygons import (
    as_text,
    checked_ring,
    cut_out,
    inside,
    outline,
    united,
)
from pipeline.data.images import shown
from pipeline.errors import DataError
from pipeline.masks.rle import Runs, parse_runs

LOG = logging.getLogger(__name__)
FILE = "annotations.json"


class _Index:
    """What a file holds, but for the annotations, of which it is known where they lie."""

    def __init__(self, path: Path, rejected: list[Rejected]) -> None:
        self.where = shown(path)
        self.images: list[dict[str, Any]] = []
        self.names: dict[object, str] = {}
        by_id: dict[object, int] = {}
        owners: list[object] = []
        places = array("q")
        keys = set()
        for key, element, start, length in elements(path):
            keys.add(key)
            with listed(rejected, self.where, f"{key}, byte {start}"):
                if key in ("images", "annotations", "categories") and not isinstance(element, dict):
                    raise RefusalError(f"expected an object, got {element!r:.40}", "Correct it.")
                if key == "annotations":
                    owners.append(_hashable(element.get("image_id")))
                    places.extend((start, length))
                elif key == "categories":
                    self._add_category(element)
                elif key == "images":
                    self._add_image(element, by_id)
        if not {"images", "annotations"} <= keys:
            raise DataError(
                f"{self.where}: expected COCO's lists images and annotations, got "
                f"{', '.join(sorted(keys)) or 'no list that holds anything'}. Name another file, "
                "or its form with --as."
            )
        numbers = np.array([by_id.get(owner, -1) for owner in owners], np.int64)
        self.order = np.argsort(numbers, kind="stable")
        self.places = np.frombuffer(places, np.int64).reshape(-1, 2)
        self.ends = np.searchsorted(numbers[self.order], np.arange(len(self.images) + 1))

    def _add_category(self, element: dict[str, Any]) -> None:
        number, name = _hashable(element.get("id")), element.get("name")
        if self.names.get(number, name) != name:
            raise RefusalError(
                f"a second category of id {number}, {name}", "Give each category an id of its own."
            )
        if not isinstance(name, str) or not name:
            raise RefusalError(f"category {number} has no name", "Give it one.")
        self.names[number] = name

    def _add_image(self, element: dict[str, Any], by_id: dict[object, int]) -> None:
        if (number := _hashable(element.get("id"))) in by_id:
            raise RefusalError(
                f"a second image of id {number}, {element.get('file_name')}",
                "Give each image an id of its own.",
            )
        by_id[number] = len(self.images)
        known = ("id", "file_name", "height", "width")
        self.images.append({name: element.get(name) for name in known})


def _hashable(value: object) -> object:
    """Return an id, or its text where it is a list or an object, which no other thing has."""
    return value if isinstance(value, int | str) else repr(value)


def read(source: Source, rejected: list[Rejected]) -> Iterator[Annotated]:
    """Read the images of a file in its order, those without annotations too.

    Memory holds each image's name and each annotation's place, not the file.

    Args:
        source: The file. The images are in `--images`, beside it or in a folder `images` there.
        rejected: What cannot be taken is added.

    Raises:
        DataError: It is no file of this form.
    """
    index = _Index(source.path, rejected)
    # Also as COCO itself has them: annotations/instances_train.json, images/train or train.
    subset = source.path.stem.removeprefix("instances_")
    folders = [each for folder in folders_of(source) for each in (folder, folder / subset)] + [
        source.path.parent.parent / subset
    ]
    with source.path.open("rb") as file:

        def annotation(number: int) -> dict[str, Any]:
            start, length = index.places[number].tolist()
            file.seek(start)
            found: dict[str, Any] = json.loads(file.read(length))
            return found

        for number in index.order[: index.ends[0]].tolist():
            found = annotation(number)
            rejected.append(
                Rejected(
                    index.where,
                    f"annotation {found.get('id')}",
                    f"image_id {found.get('image_id')!r:.40}, of which there is no image",
                    "Add the image to the file, or leave the annotation out.",
                )
            )
        for number, image in enumerate(index.images):
            with listed(rejected, index.where, f"image {image['id']}, {shown(image['file_name'])}"):
                path = find_image(image["file_name"], folders)
                height, width = checked_size(path, image["height"], image["width"])
                objects = []
                for at in index.order[index.ends[number] : index.ends[number + 1]].tolist():
                    found = annotation(at)
                    with listed(rejected, index.where, f"annotation {found.get('id')}"):
                        name = _class_of(found, index.names, source.crowds)
                        runs = _runs(found.get("segmentation"), height, width)
                        objects.append((name, as_text(runs)))
                yield Annotated(path, height, width, objects, index.where)


def _class_of(annotation: dict[str, Any], names: dict[object, str], crowds: bool) -> str:
    number = _hashable(annotation.get("category_id"))
    if number not in names:
        raise RefusalError(
            f"category_id {number!r:.40}, of which there is no category", "Add it to categories."
        )
    if annotation.get("iscrowd") and not crowds:
        raise RefusalError(
            "a region that stands for several objects (iscrowd)",
            "Part it, or take whole masks. Where a tool marks every mask so, give --crowds.",
        )
    return names[number]


def _runs(segmentation: object, height: int, width: int) -> Runs:
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width]:
            raise RefusalError(
                f"expected a mask of size [{height}, {width}], its image's, got {size!r:.40}",
                "Correct it.",
            )
        return united([from_counts(counts, height * width)], height * width)
    if not isinstance(segmentation, list) or not segmentation:
        raise RefusalError(
            "expected a segmentation, polygons or a mask, got none",
            "Draw its outline: boxes alone are no masks.",
        )
    rings = [checked_ring(points) for points in segmentation]
    return united([inside([ring], height, width) for ring in rings], height * width)


def write(
    out: Path,
    images: Iterable[Annotated],
    *,
    root: Path,
    classes: Sequence[str],
    polygons: bool = False,
) -> None:
    """Write `annotations.json`.

    Args:
        out: The folder.
        images: Images and their objects, one after the other.
        root: The folder of the images; the file names them as they are named there.
        classes: All names of classes, in the order of their numbers from 1 on.
        polygons: Write objects that have no hole as polygons, not as masks.
    """
    entries, count, holed = [], 0, 0
    with (out / FILE).open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for number, image in enumerate(images, start=1):
            name = image.path.relative_to(root).as_posix()
            shape = image.height, image.width
            entries.append({"id": number, "file_name": name, "height": shape[0], "width": shape[1]})
            for class_name, text in image.objects:
                segmentation = (polygons and _polygons(text, *shape)) or _mask(text, *shape)
                holed += polygons and isinstance(segmentation, dict)
                (left, top), mask_hw = cut_out(text, *shape)
                entry = {
                    "id": count + 1,
                    "image_id": number,
                    "category_id": classes.index(class_name) + 1,
                    "segmentation": segmentation,
                    "area": int(mask_hw.sum()),
                    "bbox": [left, top, *mask_hw.shape[::-1]],
                    "iscrowd": 0,
                }
                file.write((",\n" if count else "\n") + json.dumps(entry))
                count += 1
        categories = [{"id": at, "name": name} for at, name in enumerate(classes, start=1)]
        file.write(f'],\n"categories": {json.dumps(categories)},\n')
        file.write(f'"images": {json.dumps(entries)}}}\n')
    if holed:
        LOG.info(
            "%d of %d objects have holes, which a list of polygons has not: they are masks",
            *(holed, count),
        )


def _polygons(encoded: str, height: int, width: int) -> list[list[int]]:
    """Return the parts of an object as COCO's polygons, none if one has a hole."""
    parts = outline(encoded, height, width)
    return (
        [] if any(len(part) > 1 for part in parts) else [ring.ravel().tolist() for (ring,) in parts]
    )


def _mask(encoded: str, height: int, width: int) -> dict[str, Any]:
    counts = to_counts(parse_runs(encoded, height, width), height * width)
    return {"size": [height, width], "counts": compress(counts)}
