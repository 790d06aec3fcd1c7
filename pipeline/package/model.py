"""An image as an array -> the objects in it, by the networks and rules of a run or a package.

An image of any size: a large one is predicted in windows as large as the images that the run
learned from; filters and areas of the rules hold for the whole image.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.compute.device import Device
from pipeline.errors import ConfigError
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import as_maps
from pipeline.inference.windows import predict_windows
from pipeline.maps import MAX_LEVEL, ImageMaps
from pipeline.masks.outlines import Polygon, polygons
from pipeline.masks.rle import Labels, encode_labels
from pipeline.package.contents import Package
from pipeline.selection.rules import find_objects
from pipeline.selection.thresholds import Rules

Layers = Mapping[str, ImageMaps]
"""The maps of each class."""
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
        confidence: How likely its IoU with a true object is above 0.5, 0..1, calibrated on objects
            that the networks did not learn from; None where the run does not know.
        area_px: How many pixels it has.
        rectangle: The smallest around it.
    """

    class_id: str
    rle: str
    box_xyxy: tuple[int, int, int, int]
    polygons: list[Polygon]
    mean_probability: float
    confidence: float | None
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
        layers = self.maps(image_hwc, Path("image_hwc"))
        return [
            one
            for class_id, labels_hw in self.find(layers).items()
            for one in describe(class_id, labels_hw, layers[class_id])
        ]

    def maps(self, image_hwc: npt.NDArray[np.uint8], path: Path) -> Layers:
        """Return the probability maps of an image, which errors name as `path`.

        Raises:
            ArtifactError: A probability is not a number.
            ConfigError: Memory does not suffice.
        """
        height, width = self._size
        with self._lock:
            mean = predict_windows(
                self._network,
                image_hwc,
                height=height,
                width=width,
                batch_size=self._network.batch_size,
            )
        return dict(zip(self.classes, next(as_maps(mean, [path], self.config)), strict=True))

    def find(self, layers: Layers) -> dict[str, Labels]:
        """Cut an image's maps into the objects of each class by the rules.

        Returns:
            int32 (h, w) of each class: 0 for background, 1..n for objects, or 1 for a mask.
        """
        found = {}
        for class_id, maps in layers.items():
            labels_hw = find_objects(maps, self._rules[class_id])
            if labels_hw is None:
                labels_hw = np.zeros_like(maps.prob_hw, np.int32)
            found[class_id] = labels_hw if self.config.task.objects else np.minimum(labels_hw, 1)
        return found


def describe(class_id: str, labels_hw: Labels, maps: ImageMaps) -> list[FoundObject]:
    """Return the objects of a class.

    Args:
        class_id: The class.
        labels_hw: int32 (h, w), 0 for background, 1..n for objects.
        maps: The class's maps.
    """
    area_px = np.bincount(labels_hw.ravel())[1:]
    sums = np.bincount(labels_hw.ravel(), maps.prob_hw.ravel() / MAX_LEVEL)[1:]
    found = zip(
        encode_labels(labels_hw), polygons(labels_hw), area_px.tolist(), sums.tolist(), strict=True
    )
    return [
        FoundObject(
            class_id=class_id,
            rle=rle,
            box_xyxy=_box(parts),
            polygons=parts,
            mean_probability=total / area,
            confidence=None,
            area_px=area,
            rectangle=smallest_rectangle(np.concatenate([rings[0] for rings in parts])),
        )
        for rle, parts, area, total in found
    ]


def _box(parts: Sequence[Polygon]) -> tuple[int, int, int, int]:
    corners_xy = np.concatenate([rings[0] for rings in parts])
    (left, top), (right, bottom) = corners_xy.min(0).tolist(), corners_xy.max(0).tolist()
    return left, top, right, bottom


def smallest_rectangle(corners_xy: npt.NDArray[Any]) -> Rectangle:
    """Return the smallest rectangle around points, (k, 2) of x and y, y down."""
    # In single precision, which is finer near 0.
    origin_xy = corners_xy.min(0)
    (x, y), (one, other), angle = cv2.minAreaRect((corners_xy - origin_xy).astype(np.float32))
    if other > one:
        one, other, angle = other, one, angle + 90
    centre_xy = (x + float(origin_xy[0]), y + float(origin_xy[1]))
    return Rectangle(centre_xy, one, other, angle % 180)
