"""YOLO's segmentation labels: a text file an image, a row an object, and a YAML file with names.

A row is the class's number and the corners x y of one ring, as shares of width and height. The ring
of an object of several rings goes to each of the others and back the same way: read by centres of
pixels, holes and parts are exact. A trainer cuts the corners to whole pixels and fills the ring
with its border (`as_trained`); so a ring is written a quarter of a pixel inside the edge, where
both ways of reading find the object's pixels, but for the ways between its parts.

Source: https://docs.ultralytics.com/datasets/segment, and ultralytics 8.4.190, data/utils.py.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial import Delaunay

from pipeline.annotations.annotation import Annotated, RefusalError, Rejected, Source, listed
from pipeline.annotations.images import checked_size, file_names, find_image
from pipeline.annotations.polygons import (
    Points,
    as_text,
    checked_ring,
    inside,
    outline,
    placed,
)
from pipeline.data.images import list_images, shown
from pipeline.errors import DataError
from pipeline.masks.outlines import Ring
from pipeline.masks.rle import encode_runs

LOG = logging.getLogger(__name__)
FILE = "dataset.yaml"
SPLITS = ("train", "val", "test")
INSET_PX = 0.25
FREE = 1e-6  # px that a way along a ring counts, which adds no pixel; 0 would be no way
BEYOND = 1e-3  # what rounding may put a corner outside the image


def read(source: Source, rejected: list[Rejected]) -> Iterator[Annotated]:
    """Read the images of all splits that a YAML file names.

    An image without a label file has no objects, unless no image of its split has one.

    Args:
        source: The YAML file, or the folder that holds one.
        rejected: What cannot be taken is added.

    Raises:
        DataError: There is no such file, it names no classes or no images, or the folder of images
            is given.
    """
    path = _yaml_in(source.path)
    if source.images is not None:
        raise DataError(
            f"{shown(path)}: it says where the images are, and labels beside them. Correct that "
            "there. Leave out --images."
        )
    known = _read_yaml(path)
    names = _names(known.get("names"), path)
    splits = {split: entry for split in SPLITS if (entry := known.get(split))}
    if not splits:
        raise DataError(f"{shown(path)}: expected train, val or test, got none. Add one.")
    seen: set[Path] = set()
    for split, entry in splits.items():
        images: list[Path] = []
        for one in entry if isinstance(entry, list) else [entry]:
            with listed(rejected, shown(path), split):
                images += _images_of(str(one), path.parent, str(known.get("path") or ""))
        # What a split names again is there once.
        labels = {image: label_path(image) for image in images if image not in seen}
        seen |= {*labels}
        there = sum(label.is_file() for label in labels.values())
        if labels and not there:
            rejected.append(
                Rejected(
                    shown(path),
                    split,
                    f"none of its {len(labels)} images has a label file, such as "
                    f"{shown(next(iter(labels.values())))}",
                    "Put the labels there, or take the split out of the file.",
                )
            )
            continue
        if there < len(labels):
            LOG.info(
                "%s, %s: %d of %d images have no label file, and so no objects",
                *(shown(path), split, len(labels) - there, len(labels)),
            )
        for image, label in labels.items():
            with listed(rejected, shown(label), image.name):
                height, width = checked_size(find_image(image.name, [image.parent]), None, None)
                objects = [*_objects(label, names, height, width, rejected)]
                yield Annotated(image, height, width, objects, shown(label))


def label_path(image: Path) -> Path:
    """Return the label file of an image: its last folder `images` is `labels` there."""
    parts = [*image.parts]
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _yaml_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    if len(found) != 1:
        raise DataError(
            f"{shown(path)}: expected one YAML file, which names images and classes, got "
            f"{', '.join(shown(each.name) for each in found) or 'none'}. Name the file itself."
        )
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        known = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{shown(path)}: no YAML: {said}. Correct it.") from None
    if not isinstance(known, dict):
        raise DataError(f"{shown(path)}: expected keys with values, got {type(known).__name__}.")
    return known


def _names(names: object, path: Path) -> dict[str, str]:
    """Return the classes by their numbers as they are written.

    Raises:
        DataError: They are not told, or two have one name.
    """
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not all(isinstance(number, int) for number in pairs):
        raise DataError(
            f"{shown(path)}: expected names, a list or each with its number, got {names!r:.60}. "
            "Add them."
        )
    found = {str(number): str(name) for number, name in pairs.items()}
    if len({*found.values()}) < len(found):
        raise DataError(f"{shown(path)}: two of the names are equal. Rename one.")
    return found


def _images_of(entry: str, here: Path, root: str) -> list[Path]:
    """Return the images of a folder or a list of them, which a YAML file in `here` names."""
    # As trainers do: from `path`, from the file, and from the file where another folder was meant.
    places = [here / root / entry, here / entry, here / entry.removeprefix("../")]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        looked = " or ".join(shown(place) for place in dict.fromkeys(places))
        raise RefusalError(f"no folder or list {looked}", "Correct path, or the name.")
    if place.is_dir():
        return list_images(place, "**/*")
    lines = _lines(place)
    return [place.parent / line.strip() for line in lines if line.strip()]


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "replace").splitlines()


def _objects(
    label: Path, names: dict[str, str], height: int, width: int, rejected: list[Rejected]
) -> Iterator[tuple[str, str]]:
    if not label.is_file():
        return
    for row, line in enumerate(_lines(label), start=1):
        with listed(rejected, shown(label), f"row {row}"):
            if line.strip():
                name, ring = _row(line.split(), names)
                yield name, as_text(inside([ring * (width, height)], height, width))


def _row(tokens: list[str], names: dict[str, str]) -> tuple[str, Points]:
    """Return the class of a row and its ring, as shares."""
    number = tokens[0]
    if number not in names:
        raise RefusalError(
            f"expected the number of a class, {', '.join(names)}, got {number!r:.20}",
            "Add its name.",
        )
    if len(tokens) == 5:
        raise RefusalError("a box, which is no mask", "Draw its outline.")
    ring = checked_ring(tokens[1:])
    beyond = np.maximum(-ring, ring - 1).max()
    if beyond > BEYOND:
        raise RefusalError(
            f"expected shares of width and height from 0 to 1, got one {beyond:.3g} beyond",
            "Divide by the image's size, or leave the object out.",
        )
    return names[number], ring


def write(out: Path, images: Iterable[Annotated], *, root: Path, classes: Sequence[str]) -> None:
    """Write `dataset.yaml`, the list `train.txt`, `labels` and a link to the folder of the images.

    Args:
        out: The folder.
        images: Images and their objects, one after the other.
        root: The folder of the images.
        classes: All names of classes, in the order of their numbers from 0 on.

    Raises:
        DataError: Two of the images differ by their ending alone, or images lie in a folder
            `images` below `root`, beside which their labels would be.
    """
    (out / "labels").mkdir()
    (out / "images").symlink_to(root.resolve(), target_is_directory=True)
    joined = 0
    with (out / "train.txt").open("w", encoding="utf-8") as names:
        for image, label_name in file_names(images, root, ".txt"):
            name = image.path.relative_to(root)
            label = out / "labels" / label_name
            if label != label_path(out / "images" / name):
                raise DataError(
                    f"{shown(image.path)}: YOLO looks for labels beside a folder `images`, and so "
                    "in your data. Name the folder otherwise, or take another form."
                )
            rows = []
            for class_name, text in image.objects:
                rings = _inset_rings(text, image.height, image.width)
                joined += len(rings) > 1
                shares = _joined(rings) / (image.width, image.height)
                corners = " ".join(f"{share:.6f}" for share in shares.ravel().tolist())
                rows.append(f"{classes.index(class_name)} {corners}\n")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("".join(rows), encoding="utf-8")
            names.write(f"./images/{name.as_posix()}\n")
    known = {"train": "train.txt", "val": "train.txt", "names": dict(enumerate(classes))}
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True)
    (out / FILE).write_text(text, encoding="utf-8")
    if joined:
        LOG.info(
            "%d objects have holes or several parts, which a line joins: YOLO has one ring", joined
        )


def _inset_rings(encoded: str, height: int, width: int) -> list[Points]:
    """Return the rings of an object, each moved into it."""
    return [_inset(ring) for part in outline(encoded, height, width) for ring in part]


def _inset(ring: Ring) -> Points:
    """Move the edges of a ring to their right, where the object is.

    An inner corner is cut: beyond it may be a pixel of the background.
    """
    steps = np.sign(np.roll(ring, -1, axis=0) - ring)
    to_right = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
    begin = ring + INSET_PX * (to_right + steps)
    end = ring + INSET_PX * np.roll(to_right - steps, 1, axis=0)
    moved = np.stack([end, begin], axis=1).reshape(-1, 2)
    corners: Points = moved[(moved != np.roll(moved, 1, axis=0)).any(axis=1)]
    return corners


def _joined(rings: list[Points]) -> Points:
    """Return one ring of many: at its corners it leaves for others and comes back.

    The ways are the shortest that reach all rings: Delaunay's triangles have them as sides.
    """
    if len(rings) == 1:
        return rings[0]
    corners, owner = np.concatenate(rings), np.repeat(np.arange(len(rings)), [*map(len, rings)])
    at = np.arange(len(corners))
    of_ring = [at[owner == number] for number in range(len(rings))]
    sides = Delaunay(corners).simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    ways = np.unique(np.sort(sides[owner[sides[:, 0]] != owner[sides[:, 1]]], axis=1), axis=0)
    along = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in of_ring])
    lengths = np.linalg.norm(corners[ways[:, 0]] - corners[ways[:, 1]], axis=1)
    weights = np.concatenate([lengths, np.full(len(along), FREE)])
    graph = coo_array((weights, np.concatenate([ways, along]).T), (len(at), len(at)))
    order, before = breadth_first_order(minimum_spanning_tree(graph), 0, directed=False)
    path = of_ring[0]
    for corner in order[1:].tolist():
        if owner[corner] != owner[before[corner]]:
            ring = of_ring[owner[corner]]
            to, begin = corner - ring[0], np.flatnonzero(path == before[corner])[0]
            path = np.concatenate([path[: begin + 1], ring[to:], ring[: to + 1], path[begin:]])
    joined: Points = corners[path]
    return joined


def as_trained(
    label: Path, classes: Sequence[str], height: int, width: int
) -> list[tuple[str, str]]:
    """Return class and RLE of each object of a file that `write` made, as a trainer reads it.

    Corners in float32 are cut to whole pixels, and OpenCV fills the ring with its border.
    """
    objects = []
    for line in label.read_text(encoding="utf-8").splitlines():
        number, *corners = line.split()
        shares = np.array(corners, np.float32).reshape(-1, 2)
        corners_px = (shares * np.array([width, height], np.float32)).astype(np.int32)
        left, top = corners_px.min(axis=0).tolist()
        mask_hw = np.zeros((np.ptp(corners_px, axis=0) + 1)[::-1], np.uint8)
        cv2.fillPoly(mask_hw, [corners_px - np.array([left, top])], 1)
        runs = placed(mask_hw, left, top, height, width)
        objects.append((classes[int(number)], encode_runs(runs)))
    return objects
