"""LabelMe's JSON, a file an image: polygons, rectangles, circles and masks.

Shapes with one label and `group_id` are one object. Written are polygons; an object of several
parts is a group of them, and one with a hole, which a polygon has not, is a mask.

Source: https://github.com/wkentaro/labelme, version 5.5.
"""

import base64
import json
import math
import os
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.annotations.annotation import Annotated, RefusalError, Rejected, Source, listed
from pipeline.annotations.images import checked_size, file_names, find_image
from pipeline.annotations.polygons import DRAW_AGAIN, checked_ring, cut_out, inside, outline, placed
from pipeline.annotations.shapes import Shape, box, ellipse, objects_of, without_area
from pipeline.data.images import shown
from pipeline.errors import DataError
from pipeline.masks.rle import Mask, Runs

VERSION = "5.5.0"


def read(source: Source, rejected: list[Rejected]) -> Iterator[Annotated]:
    """Read a file, or the files of a folder and those below by name.

    Args:
        source: The file or folder. Images are where the files say, or in `--images`.
        rejected: What cannot be taken is added.

    Raises:
        DataError: There is no file.
    """
    folder = source.path.is_dir()
    paths = sorted(source.path.rglob("*.json")) if folder else [source.path]
    if not paths:
        raise DataError(f"{shown(source.path)}: expected files *.json of LabelMe, found none.")
    for path in paths:
        where = shown(path)
        with listed(rejected, where, ""):
            known = _read_json(path)
            image = _image(known, [source.images or path.parent])
            height, width = checked_size(image, known.get("imageHeight"), known.get("imageWidth"))
            shapes = (_shape(number, shape) for number, shape in enumerate(known["shapes"], 1))
            objects = objects_of(shapes, height, width, where, rejected)
            yield Annotated(image, height, width, objects, where)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RefusalError(f"no JSON: {error}", "Save it again, or move it away.") from None
    shapes = known.get("shapes") if isinstance(known, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise RefusalError("expected a list of shapes, got none", "Move it away: it is another's.")
    return dict(known)


def _image(known: dict[str, Any], folders: list[Path]) -> Path:
    try:
        return find_image(known.get("imagePath"), folders)
    except RefusalError as refusal:
        if not known.get("imageData"):
            raise
        raise RefusalError(
            f"its image is embedded, and there is {refusal.reason}",
            "Write the image there (labelme_export_json does), or name its folder with --images.",
        ) from None


def _shape(number: int, shape: dict[str, Any]) -> Shape:
    group: Hashable = shape.get("group_id")
    if isinstance(group, list | dict):
        group = repr(group)
    return Shape(f"shape {number}", shape.get("label"), group, partial(_draw, shape))


def _draw(shape: dict[str, Any], height: int, width: int) -> Runs:
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in ("polygon", "oriented_rectangle", "rectangle", "circle", "mask"):
        raise without_area(kind)
    if kind in ("polygon", "oriented_rectangle"):
        return inside([checked_ring(points)], height, width)
    if not isinstance(points, list) or len(points) != 2:
        raise RefusalError(f"expected a {kind} by two points, got {points!r:.40}", DRAW_AGAIN)
    # With one of them again they are checked as three.
    (x0, y0), (x1, y1), _ = checked_ring([*points, points[0]]).tolist()
    if kind == "rectangle":
        return inside([box(x0, y0, x1, y1)], height, width)
    if kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        return inside([ellipse(x0, y0, radius, radius)], height, width)
    mask_hw = _decode_mask(shape.get("mask"))
    size = int(y1) - int(y0) + 1, int(x1) - int(x0) + 1
    if mask_hw.shape != size:
        raise RefusalError(
            f"expected a mask of {size[1]}x{size[0]} px, as its points say, got one of "
            f"{mask_hw.shape[1]}x{mask_hw.shape[0]} px",
            "Draw it again.",
        )
    return placed(mask_hw, int(x0), int(y0), height, width)


def _decode_mask(encoded: object) -> Mask:
    mask_hw: Mask | None = None
    try:
        content = np.frombuffer(base64.b64decode(str(encoded), validate=True), np.uint8)
        if len(content):
            mask_hw = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    except ValueError:  # base64's own errors, too
        pass
    if mask_hw is None:
        raise RefusalError(
            "expected a mask as a PNG in base64, got something else", "Draw it again."
        )
    return mask_hw


def write(out: Path, images: Iterable[Annotated], *, root: Path) -> None:
    """Write a file an image, named as it is below `root`, the folder of the images.

    Raises:
        DataError: Two of the images differ by their ending alone.
    """
    for image, name in file_names(images, root, ".json"):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes, group = [], 0
        for class_name, text in image.objects:
            some = _shapes_of(text, image.height, image.width)
            group += len(some) > 1
            for shape in some:
                grouped = group if len(some) > 1 else None
                shapes.append({"label": class_name, "group_id": grouped, "flags": {}} | shape)
        known: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": _relative(image.path, path.parent),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        path.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _shapes_of(encoded: str, height: int, width: int) -> list[dict[str, Any]]:
    """Return the shapes of an object, without their label."""
    parts = outline(encoded, height, width)
    if all(len(rings) == 1 for rings in parts):
        return [{"shape_type": "polygon", "points": ring.tolist()} for (ring,) in parts]
    (left, top), mask_hw = cut_out(encoded, height, width)
    content = cv2.imencode(".png", mask_hw)[1].tobytes()
    last = [left + mask_hw.shape[1] - 1, top + mask_hw.shape[0] - 1]
    return [
        {
            "shape_type": "mask",
            "points": [[left, top], last],
            "mask": base64.b64encode(content).decode(),
        }
    ]
