"""An image of any extent -> the objects in it, by the networks and rules of a run or a package.

It is predicted in windows as large as the images that the run learned from, and what the rules
decide of a whole image holds for cells of that size: see `pipeline.windows`.
"""

import math
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from pipeline.compute.device import Device
from pipeline.config.fields import CHANNELS
from pipeline.errors import ConfigError
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import as_layers, to_levels
from pipeline.maps import MAX_LEVEL, ImageMaps
from pipeline.masks.outlines import Polygon, polygons
from pipeline.masks.rle import Labels, Within, encode_labels, encode_runs, parse_rows
from pipeline.masks.rle_forms import unite
from pipeline.package.contents import Package
from pipeline.selection.thresholds import Rules
from pipeline.windows import BLOCK_PX
from pipeline.windows.cells import find_in_cells
from pipeline.windows.grid import Grid
from pipeline.windows.pixels import Image, Picture, Pixels
from pipeline.windows.store import Windows

DEVICES = ("auto", "cpu", "cuda")


class Rectangle(NamedTuple):
    """The smallest rectangle around an object, turned as it may be.

    Attributes:
        centre_xy: Its centre, px.
        length_px: Of the longer side.
        width_px: Of the shorter side.
        angle_deg: From the x axis to the longer side, clockwise as one sees it, in [0, 180).
    """

    centre_xy: tuple[float, float]
    length_px: float
    width_px: float
    angle_deg: float


@dataclass(frozen=True)
class FoundObject:
    """An object in an image. Coordinates: x to the right, y down from the first pixel's corner.

    Attributes:
        class_id: Its class.
        rle: Its pixels as one-based `start length` pairs, column by column. `decode_mask` of
            `pipeline.masks.rle` makes a mask of it.
        box_xyxy: Left, top, right and bottom edge of its pixels.
        polygons: Its parts along the edges of its pixels, each an outer ring and its holes, int64
            (k, 2) of [x, y]; see `pipeline.masks.outlines.polygons`.
        mean_probability: Of its pixels, 0..1. How sure the networks are; not calibrated.
        area_px: How many pixels it has.
        rectangle: The smallest around it.
    """

    class_id: str
    rle: str
    box_xyxy: tuple[int, int, int, int]
    polygons: list[Polygon]
    mean_probability: float
    area_px: int
    rectangle: Rectangle


class Model:
    """Finds the objects in images; one image at a time, from any number of threads.

    Args:
        package: Its networks, all of which are averaged, and its rules.
        device: Where to compute: auto, cpu or cuda; None: as the run was configured.

    Attributes:
        config: The run's configuration.
        classes: Of objects.
        identity: JSON values: what decides the objects in an image, beside the device.
        device: Where to compute.

    Raises:
        ArtifactError: Weights are damaged, or of another network.
        ConfigError: There is no such device.
    """

    def __init__(self, package: Package, device: str | None = None) -> None:
        self.config, self.classes = package.config, package.config.task.classes
        machine = self.config.machine
        if device is not None:
            if device not in DEVICES:
                raise ConfigError(
                    f"device: expected {', '.join(DEVICES)} or None, got {device!r}. Give one of "
                    "them."
                )
            machine = machine.model_copy(update={"device": device})
        self.device = Device.choose(machine)
        self._network = MeanNetwork(self.config, self.device, package.states(), package.look)
        self._lock, self._size, self._rules = threading.Lock(), package.size, package.rules
        self.identity = {"size": [*package.size], **package.made_of}
        shape = self.config.task.mask_shape
        if shape is not None:  # areas were calibrated in smaller masks
            times = math.prod(package.size) / math.prod(shape)
            self._rules = {
                name: own.scaled(times) if isinstance(own, Rules) else own
                for name, own in package.rules.items()
            }

    def predict(self, image_hwc: npt.NDArray[np.uint8]) -> list[FoundObject]:
        """Find the objects in an image.

        Args:
            image_hwc: uint8 (h, w, 3), RGB, of any size.

        Returns:
            The objects class by class, [] for none. Where the competition asks for one mask a
            class, that is one object.

        Raises:
            ArtifactError: A probability is not a number.
            ConfigError: Memory does not suffice.
            TypeError: Not an array of uint8.
            ValueError: An array of another shape, or without pixels.
        """
        if not isinstance(image_hwc, np.ndarray) or image_hwc.dtype != np.uint8:
            got = getattr(image_hwc, "dtype", type(image_hwc).__name__)
            raise TypeError(
                f"image_hwc: expected a numpy array of uint8, got {got}. Scale the values to "
                "0..255 as those of the training images were, then use .astype(numpy.uint8)."
            )
        if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or not image_hwc.size:
            raise ValueError(
                f"image_hwc: expected the shape (h, w, 3), RGB, got {image_hwc.shape}. Give one "
                "image, channels last; of grey values, numpy.dstack([grey] * 3)."
            )
        with tempfile.TemporaryDirectory() as work:
            found = self.find(Picture("image_hwc", image_hwc), Path(work))
            return sorted(found, key=lambda one: self.classes.index(one.class_id))

    def look(self, picture: Picture) -> tuple[dict[str, ImageMaps], list[FoundObject]]:
        """Return the maps of each class in a picture, whole, and the objects that `find` finds."""
        with tempfile.TemporaryDirectory() as work:
            windows = self.windows(picture, Path(work))
            maps = as_layers(windows.levels(windows.grid.whole), None, self.config)
            objects = [*self.find(picture, Path(work))]  # which goes on with these windows
        return dict(zip(self.classes, maps, strict=True)), objects

    def windows(
        self, pixels: Pixels, work: Path, *, block_px: int = BLOCK_PX, progress: bool = False
    ) -> Windows:
        """Predict an image window by window.

        Args:
            pixels: The image.
            work: Folder to keep the windows in. Whoever was killed resumes with what is there, and
                gets the same to the byte. Delete it when it is no longer needed.
            block_px: Side of what is read of the maps at a time; decides memory, and nothing else.
            progress: Whether to show how far it is.

        Raises:
            ArtifactError: A probability is not a number; or `work` holds windows of something else,
                or what is damaged.
            ConfigError: Memory does not suffice.
            DataError: Pixels cannot be read.
        """
        sides = zip(self._size, (pixels.height, pixels.width), strict=True)
        height, width = (min(both) for both in sides)
        grid = Grid(pixels.height, pixels.width, (height, width), self._network.batch_size)
        layers = len(self.classes) * min(CHANNELS[self.config.targets.kind], 2)  # with contact
        made_of = {"pixels": pixels.identity, "model": self.identity, "device": str(self.device)}
        windows = Windows(work, grid, layers, made_of, block_px=block_px)

        def answer(images_nhwc: Image) -> tuple[Image, list[float | None]]:
            images_nchw = np.ascontiguousarray(images_nhwc.transpose(0, 3, 1, 2))
            with self._lock:
                mean = self._network(torch.from_numpy(images_nchw))
            return to_levels(mean, [pixels.name] * len(images_nhwc))

        windows.predict(pixels, answer, progress=progress)
        return windows

    def find(
        self, pixels: Pixels, work: Path, *, block_px: int = BLOCK_PX, progress: bool = False
    ) -> Iterator[FoundObject]:
        """Find the objects in an image that need not fit in memory.

        Memory holds a block of the maps, or what one object spans if that is larger.

        Args:
            pixels: The image.
            work: As in `windows`.
            block_px: The same.
            progress: The same.

        Yields:
            The objects, window-sized cell by cell, row by row. Where the competition asks for one
            mask a class, that is one object.

        Raises:
            ArtifactError: As in `windows`.
            ConfigError: The same.
            DataError: The same; or more than 65,534 components in a cell.
        """
        windows = self.windows(pixels, work, block_px=block_px, progress=progress)
        if self.config.task.objects:
            yield from self._describe_each(windows)
            return
        parts: dict[str, list[FoundObject]] = {}
        for one in self._describe_each(windows):
            parts.setdefault(one.class_id, []).append(one)
        for of_class in parts.values():
            yield unite_objects(of_class, pixels.height, pixels.width)

    def _describe_each(self, windows: Windows) -> Iterator[FoundObject]:
        for found in find_in_cells(windows, self._rules, self.config):
            rows, columns = (
                np.arange(first, after)
                for first, after in zip(found.box[:2], found.box[2:], strict=True)
            )
            within = (rows, columns, windows.grid.height)
            yield from describe(found.class_id, found.labels_hw, found.maps, within)


def describe(
    class_id: str, labels_hw: Labels, maps: ImageMaps, within: Within | None = None
) -> list[FoundObject]:
    """Return the objects of a class.

    Args:
        class_id: The class.
        labels_hw: int32 (h, w), 0 for background, 1..n for objects.
        maps: The class's maps.
        within: If these are a part of an image: as `pipeline.masks.rle.label_runs` has it.
    """
    corner_xy = np.array([0, 0] if within is None else [within[1][0], within[0][0]])
    area_px = np.bincount(labels_hw.ravel())[1:]
    sums = np.bincount(labels_hw.ravel(), maps.prob_hw.ravel() / MAX_LEVEL)[1:]
    outlines = [
        [[ring + corner_xy for ring in rings] for rings in parts] for parts in polygons(labels_hw)
    ]
    found = zip(
        encode_labels(labels_hw, within), outlines, area_px.tolist(), sums.tolist(), strict=True
    )
    return [
        FoundObject(
            class_id=class_id,
            rle=rle,
            box_xyxy=_box(parts),
            polygons=parts,
            mean_probability=total / area,
            area_px=area,
            rectangle=_rectangle(parts),
        )
        for rle, parts, area, total in found
    ]


def unite_objects(objects: Sequence[FoundObject], height: int, width: int) -> FoundObject:
    """Return objects of one class, which do not touch, as one mask of an image."""
    if len(objects) == 1:
        return objects[0]
    runs, owners = parse_rows([one.rle for one in objects], height, width)
    parts = [rings for one in objects for rings in one.polygons]
    areas_px = [one.area_px for one in objects]
    return replace(
        objects[0],
        rle=encode_runs(unite(runs, np.zeros_like(owners), height * width)[0]),
        box_xyxy=_box(parts),
        polygons=parts,
        mean_probability=float(
            np.average([one.mean_probability for one in objects], weights=areas_px)
        ),
        area_px=sum(areas_px),
        rectangle=_rectangle(parts),
    )


def _box(parts: Sequence[Polygon]) -> tuple[int, int, int, int]:
    corners_xy = np.concatenate([rings[0] for rings in parts])
    (left, top), (right, bottom) = corners_xy.min(0).tolist(), corners_xy.max(0).tolist()
    return left, top, right, bottom


def _rectangle(parts: Sequence[Polygon]) -> Rectangle:
    corners_xy = np.concatenate([rings[0] for rings in parts])
    # In single precision, which is finer near 0.
    origin_xy = corners_xy.min(0)
    (x, y), (one, other), angle = cv2.minAreaRect((corners_xy - origin_xy).astype(np.float32))
    if other > one:
        one, other, angle = other, one, angle + 90
    centre_xy = (x + float(origin_xy[0]), y + float(origin_xy[1]))
    return Rectangle(centre_xy, one, other, angle % 180)
