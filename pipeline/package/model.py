"""An image of any extent -> the objects in it, by the networks and rules of a run or a package.

It is predicted in windows as large as the images that the run learned from, and what the rules
decide of a whole image holds for cells of that size: see `pipeline.windows`.
"""

import math
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.compute.device import Device
from pipeline.config.fields import CHANNELS
from pipeline.errors import ConfigError
from pipeline.inference.ensemble_network import EnsembleNetwork, Network
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import as_layers, to_levels
from pipeline.maps import ImageMaps
from pipeline.package.contents import Networks, Package
from pipeline.package.found import FoundObject, describe, unite_objects
from pipeline.selection.thresholds import Rules
from pipeline.windows import BLOCK_PX
from pipeline.windows.cells import find_in_cells
from pipeline.windows.grid import Grid
from pipeline.windows.pixels import Image, Picture, Pixels
from pipeline.windows.store import Windows

DEVICES = ("auto", "cpu", "cuda")


class Model:
    """Finds the objects in images; one image at a time, from any number of threads.

    Args:
        package: Its networks, all of which are averaged, its rules and confidence.
        device: Where to compute: auto, cpu or cuda; None: as the run was configured.

    Attributes:
        config: The run's configuration.
        classes: Of objects.
        identity: JSON values: what decides the objects in an image, beside the device.
        confidence: Of each class, for `describe`.
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
        self.confidence = package.confidence or dict.fromkeys(self.classes)
        self._network = mean_network(package, self.device)
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
        for class_id, of_class in parts.items():
            yield unite_objects(of_class, self.confidence[class_id], windows.grid.whole.shape)

    def _describe_each(self, windows: Windows) -> Iterator[FoundObject]:
        for found in find_in_cells(windows, self._rules, self.config):
            rows, columns = (
                np.arange(first, after)
                for first, after in zip(found.box[:2], found.box[2:], strict=True)
            )
            confidence = self.confidence[found.class_id]
            within = (rows, columns, windows.grid.height)
            yield from describe(found.class_id, found.labels_hw, found.maps, confidence, within)


def mean_network(
    networks: Networks, device: Device, shape: tuple[int, int] | None = None
) -> Network:
    """Return a package's networks as one.

    Args:
        networks: Of a run, or of several that are averaged.
        device: Where to compute.
        shape: See `EnsembleNetwork`.

    Raises:
        ArtifactError: Weights are damaged, or of another network.
    """
    config, ensemble = networks.config, networks.config.predict.ensemble
    if ensemble is None:
        return MeanNetwork(config, device, networks.states(), networks.look)
    each = [mean_network(member, device, shape) for member in networks.members]
    return EnsembleNetwork(config, ensemble, each, shape)
