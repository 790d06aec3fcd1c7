"""CVAT for images 1.1: one XML file, an element an image, and in it an element a shape.

Shapes with one label and `group_id` are one object. Attributes are not read. Written are polygons;
an object of several parts, or with a hole, is a mask.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from pipeline.annotations.annotation import Annotated, RefusalError, Rejected, Source, listed
from pipeline.annotations.images import checked_size, find_image, folders_of
from pipeline.annotations.polygons import (
    DRAW_AGAIN,
    FAR_PX,
    Points,
    checked_ring,
    cut_out,
    inside,
    outline,
    placed,
)
from pipeline.annotations.shapes import Shape, box, ellipse, objects_of, turned, without_area
from pipeline.data.images import shown
from pipeline.errors import DataError
from pipeline.masks.rle import Runs

LOG = logging.getLogger(__name__)
FILE = "annotations.xml"


def read(source: Source, rejected: list[Rejected]) -> Iterator[Annotated]:
    """Read the images of a file, one after the other.

    Args:
        source: The file. The images are in `--images`, beside it or in a folder `images` there.
        rejected: What cannot be taken is added.

    Raises:
        DataError: It is no file of this form.
    """
    where, attributes = shown(source.path), 0
    for element in _images(source.path):
        with listed(rejected, where, f"image {element.get('name')}"):
            path = find_image(element.get("name"), folders_of(source))
            told = [_told(element, side) for side in ("height", "width")]
            height, width = checked_size(path, *told)
            attributes += len(element.findall("*/attribute"))
            shapes = (_shape(element, number, each) for number, each in enumerate(element, 1))
            objects = objects_of(shapes, height, width, where, rejected)
            yield Annotated(path, height, width, objects, where)
    if attributes:
        LOG.info("%s: %d attributes of shapes are not read", where, attributes)


def _images(path: Path) -> Iterator[Element]:
    """Go through the elements of images; each is forgotten before the next."""
    try:
        with path.open("rb") as file:
            events = ElementTree.iterparse(file, ("start", "end"))
            _, root = next(events)
            if root.tag != "annotations":
                raise DataError(
                    f"{shown(path)}: expected CVAT's element annotations, got {root.tag}. Name "
                    "another file, or its form with --as."
                )
            for event, element in events:
                if element.tag == "track":
                    raise DataError(
                        f"{shown(path)}: expected CVAT for images, got tracks of CVAT for video. "
                        "Export it as CVAT for images 1.1."
                    )
                if event == "end" and element.tag == "image":
                    yield element
                    root.clear()
    except ElementTree.ParseError as error:
        raise DataError(f"{shown(path)}: no XML: {error}. Export it again.") from None


def _told(element: Element, side: str) -> int | None:
    text = element.get(side)
    if text is not None and not (text.isdecimal() and len(text) < 10):
        raise RefusalError(f"expected its {side} in px, got {text!r:.20}", "Correct it.")
    return None if text is None else int(text)


def _shape(image: Element, number: int, element: Element) -> Shape:
    group = element.get("group_id", "0")
    item = f"image {image.get('name')}, {element.tag} {number}"
    return Shape(
        item, element.get("label"), None if group == "0" else group, partial(_draw, element)
    )


def _draw(element: Element, height: int, width: int) -> Runs:
    if element.tag == "mask":
        return _draw_mask(element, height, width)
    if element.tag == "polygon":
        ring = checked_ring(element.get("points", "").replace(";", ",").split(","))
    elif element.tag == "box":
        ring = _turned(element, box(*_numbers(element, "xtl", "ytl", "xbr", "ybr")))
    elif element.tag == "ellipse":
        ring = _turned(element, ellipse(*_numbers(element, "cx", "cy", "rx", "ry")))
    else:
        raise without_area(element.tag)
    return inside([ring], height, width)


def _turned(element: Element, ring: Points) -> Points:
    return turned(ring, *_numbers(element, "rotation")) if element.get("rotation") else ring


def _numbers(element: Element, *names: str) -> list[float]:
    try:
        numbers = [float(element.get(name, "")) for name in names]
    except ValueError:
        numbers = [np.nan]
    if not (np.abs(numbers) < FAR_PX).all():
        given = ", ".join(f"{name} {element.get(name)!r:.20}" for name in names)
        raise RefusalError(f"expected numbers, got {given}", DRAW_AGAIN)
    return numbers


def _draw_mask(element: Element, height: int, width: int) -> Runs:
    left, top, columns, rows = map(int, _numbers(element, "left", "top", "width", "height"))
    sides = columns, rows
    if min(left, top, *sides) < 0 or left + columns > width or top + rows > height:
        raise RefusalError(
            f"expected a mask within its image of {width}x{height} px, got one of {columns}x{rows} "
            f"px at {left}, {top}",
            DRAW_AGAIN,
        )
    try:
        counts = [int(count) for count in element.get("rle", "").split(",")]
    except ValueError:
        counts = [-1]
    total = sum(counts)  # in numbers without end
    if min(counts) < 0 or total != rows * columns:
        raise RefusalError(
            f"expected counts (rle) from 0 on of {columns}x{rows} px in all, got {total!s:.20}",
            DRAW_AGAIN,
        )
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    return placed(flat.reshape(rows, columns), left, top, height, width)


def write(out: Path, images: Iterable[Annotated], *, root: Path, classes: Sequence[str]) -> None:
    """Write `annotations.xml`.

    Args:
        out: The folder.
        images: Images and their objects, one after the other.
        root: The folder of the images; the file names them as they are named there.
        classes: All names of classes.
    """
    with (out / FILE).open("w", encoding="utf-8") as file:
        labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in classes)
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n')
        file.write(f"<meta><task><labels>{labels}</labels></task></meta>\n")
        for number, image in enumerate(images):
            name = quoteattr(image.path.relative_to(root).as_posix())
            file.write(
                f'<image id="{number}" name={name} width="{image.width}" height="{image.height}">\n'
            )
            for class_name, text in image.objects:
                _write_object(file, class_name, text, image.height, image.width)
            file.write("</image>\n")
        file.write("</annotations>\n")


def _write_object(file: TextIO, name: str, encoded: str, height: int, width: int) -> None:
    known = f'label={quoteattr(name)} source="manual" occluded="0" z_order="0"'
    parts = outline(encoded, height, width)
    if len(parts) == len(parts[0]) == 1:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in parts[0][0].tolist())
        file.write(f'<polygon {known} points="{points}"/>\n')
        return
    (left, top), mask_hw = cut_out(encoded, height, width)
    edges = np.flatnonzero(np.diff(mask_hw.ravel(), prepend=0, append=2))
    rle = ", ".join(map(str, np.diff(edges, prepend=0).tolist()))
    box = f'left="{left}" top="{top}" width="{mask_hw.shape[1]}" height="{mask_hw.shape[0]}"'
    file.write(f'<mask {known} {box} rle="{rle}"/>\n')
