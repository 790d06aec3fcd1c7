"""Masks beside images: pictures whose values mean objects or classes.

A folder is read in one of these layouts:

- `images/a.jpg` and `masks/a.png` or `masks/a_mask.png`; in sub-folders, on both sides alike;
  with `masks/<class>/a.png` a folder of masks for each class, with `masks/a/*.png` one for each
  image, where each file is an object;
- `a/images/*.png` and `a/masks/*.png`: a folder for each image, each mask one object;
- `a.jpg` and `a_mask.png` side by side.

What the values mean is said, never guessed; how they are read is in `label_maps`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Literal

import cv2
import numpy as np

from pipeline.annotations.annotation import (
    Annotated,
    RefusalError,
    Rejected,
    Source,
    listed,
)
from pipeline.annotations.images import checked_size
from pipeline.annotations.label_maps import read_values
from pipeline.config.competitions import ANY_CLASS
from pipeline.data.images import list_images, shown
from pipeline.errors import DataError
from pipeline.masks.rle import encode_labels, encode_runs, label_runs

Named = tuple[PurePath, Path]

MASK = "_mask"
NAMED = 12
LAYOUTS = (
    "images/ and masks/ with files of the same names, a/images/ and a/masks/ for each image a, or "
    f"a.png and a{MASK}.png side by side"
)


@dataclass(frozen=True)
class Meaning:
    """What the values of masks mean; 0 is background always.

    Attributes:
        kind: `binary`: one other value, whose connected parts are objects; `instances`: each value
            is an object; `classes`: each is a class, whose connected parts are objects.
        classes: Of `classes`, the name of each value; "" of one that is left out.
    """

    kind: Literal["binary", "instances", "classes"]
    classes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mask:
    """A mask of an image: of which class, and whether its file is one object."""

    path: Path
    class_id: str = ANY_CLASS
    is_object: bool = False


def read(source: Source, rejected: list[Rejected], meaning: Meaning) -> Iterator[Annotated]:
    """Read a folder of images and masks.

    Args:
        source: The folder; with `images`, it may be that of the masks alone.
        rejected: Gets the images without a mask or with one that does not fit, and the masks
            without an image.
        meaning: What the values mean.

    Yields:
        The images by name, those without objects too.

    Raises:
        DataError: The folder has none of the layouts.
    """
    for image, masks in _matched(*_layout(source), rejected):
        with listed(rejected, shown(image), ""):
            height, width = checked_size(image, None, None)
            objects = []
            for mask in masks:
                try:
                    objects += _objects(mask, (height, width), meaning)
                except RefusalError as refusal:
                    reason = f"{shown(mask.path)}: {refusal.reason}"
                    raise RefusalError(reason, refusal.advice) from None
            yield Annotated(image, height, width, objects, shown(masks[0].path))


def _layout(source: Source) -> tuple[list[Named], list[Named]]:
    """Return the images and the masks, each with the path without ending that it is matched by."""
    folder = source.path
    below = folder / "masks"
    pair = source.images or folder / "images", below if below.is_dir() else folder
    if pair[0].is_dir() and (source.images or below.is_dir()):
        return _below(pair[0]), _below(pair[1])
    if any(folder.glob("*/masks/")):
        images = [(PurePath(path.parts[-3]), path) for path in list_images(folder, "*/images/*")]
        masks = [
            (PurePath(path.parts[-3], path.stem), path) for path in list_images(folder, "*/masks/*")
        ]
        return images, masks
    found = _below(folder) if folder.is_dir() else []
    masks = [(name, path) for name, path in found if name.name.endswith(MASK)]
    if not masks:
        raise DataError(
            f"{shown(folder)}: expected {LAYOUTS}; found none of these. Correct the path, or give "
            "the folder of masks, and that of the images with --images."
        )
    return [pair for pair in found if not pair[0].name.endswith(MASK)], masks


def _below(folder: Path) -> list[Named]:
    """Return the pictures below a folder, and their paths there without ending."""
    return [(p.relative_to(folder).with_suffix(""), p) for p in list_images(folder, "**/*")]


def _matched(
    images: list[Named], masks: list[Named], rejected: list[Rejected]
) -> Iterator[tuple[Path, list[_Mask]]]:
    """Yield each image that has masks, with these."""
    named: dict[PurePath, list[Path]] = {}
    for name, path in images:
        # A mask may be called as the image with its ending, a.jpg.png.
        for key in (name, name.with_name(path.name)):
            named.setdefault(key, []).append(path)
    of_image: dict[Path, list[_Mask]] = {path: [] for _, path in images}
    for name, path in masks:
        key, mask = _meant(name, path, named)
        match named.get(key, []):
            case [image]:
                of_image[image].append(mask)
            case []:
                reason = "a mask without an image of its name"
                rejected.append(Rejected(shown(path), "", reason, "Add the image, or remove it."))
            case several:
                reason = f"it fits several images: {', '.join(shown(each) for each in several)}"
                advice = "Call the mask as the image with its ending, such as a.jpg.png."
                rejected.append(Rejected(shown(path), "", reason, advice))
    for image, own in of_image.items():
        parts = sum(mask.is_object for mask in own)
        if not own:
            reason = "no mask: nothing says that it shows no object"
            advice = "Add a mask, of zeros if it shows none, or remove the image."
            rejected.append(Rejected(shown(image), "", reason, advice))
        elif parts != len(own) and (parts or len({mask.class_id for mask in own}) < len(own)):
            reason = f"several masks of one image: {', '.join(shown(mask.path) for mask in own)}"
            rejected.append(Rejected(shown(image), "", reason, "Leave the one that is right."))
        else:
            yield image, own


def _meant(
    name: PurePath, path: Path, named: Mapping[PurePath, list[Path]]
) -> tuple[PurePath, _Mask]:
    """Return the name of the image that a mask is of, and how it is to be read."""
    below = PurePath(*name.parts[1:])
    plain, plain_below = (
        key.with_name(key.name.removesuffix(MASK)) if key.name not in ("", MASK) else key
        for key in (name, below)
    )
    mask = _Mask(path)
    for key in (name, plain):
        if key in named:
            return key, mask
    if name.parent in named:
        return name.parent, replace(mask, is_object=True)
    return plain_below if plain_below in named else below, replace(mask, class_id=name.parts[0])


def _objects(mask: _Mask, shape: tuple[int, int], meaning: Meaning) -> list[tuple[str, str]]:
    """Return the class and the pixels of each object of a mask.

    Raises:
        RefusalError: It cannot be read, or has another size or other values than it must.
    """
    values_hw = read_values(mask.path)
    if values_hw.shape != shape:
        raise RefusalError(
            f"expected {shape[1]}x{shape[0]} px like the image, got {values_hw.shape[1]}x"
            f"{values_hw.shape[0]}",
            "Export the mask at the image's size; to scale it would move its edges.",
        )
    values, runs = label_runs(values_hw)
    found, first = np.unique(values, return_index=True)
    if meaning.kind == "instances":
        return [(mask.class_id, encode_runs(own)) for own in np.split(runs, first[1:]) if len(own)]
    if meaning.kind == "binary":
        if len(found) > 1:
            raise RefusalError(
                f"expected 0 and one other value, as of a binary mask, got {_listed(found)}",
                "Say what the values mean: --labels instances or classes. Where those are shades "
                "at edges, export the mask without smoothing.",
            )
        if mask.is_object:
            return [(mask.class_id, encode_runs(runs))] if len(runs) else []
        return [(mask.class_id, text) for text in _components(values_hw > 0)]
    unknown = [value for value in found.tolist() if value not in meaning.classes]
    if unknown or mask.class_id != ANY_CLASS:
        where = f"in the folder of class {mask.class_id}, " if mask.class_id != ANY_CLASS else ""
        raise RefusalError(
            f"{where}expected 0 and values that --classes names, got {_listed(found)}",
            "Name them all, such as 1=roof,2=road; 255= leaves a value out.",
        )
    return [
        (name, text)
        for value in found.tolist()
        if (name := meaning.classes[value])
        for text in _components(values_hw == value)
    ]


def _listed(values: np.ndarray) -> str:
    shown_values = ", ".join(map(str, values[:NAMED].tolist()))
    more = f" and {len(values) - NAMED} more" if len(values) > NAMED else ""
    return f"values {shown_values}{more}"


def _components(mask_hw: np.ndarray) -> list[str]:
    """Return each part of a mask whose pixels touch, at corners too."""
    return encode_labels(cv2.connectedComponents(mask_hw.astype(np.uint8), connectivity=8)[1])
