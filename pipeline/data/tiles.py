"""The images as a network sees them: random training crops, and whole images in order.

A catalog's paths and objects enter; uint8 tensors leave. Which crop the n-th of an epoch is depends
on (seed, stream, epoch, index) alone, so any number of workers, and a resumed run, draw the same.
An image is cropped before anything else is done to it; normalisation is the network's.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from pipeline.config.augment import Augment
from pipeline.config.reading import STRICT, Reading
from pipeline.config.schema import Crops, Targets
from pipeline.data.augment import Augmenter
from pipeline.data.images import Images
from pipeline.data.targets import make_target
from pipeline.data.true_objects import TrueObjects
from pipeline.seeds import generator, stream_seed

Item = dict[str, torch.Tensor]


def _tensor(image_hwc: np.ndarray) -> torch.Tensor:
    image_chw = np.empty((3, *image_hwc.shape[:2]), dtype=np.uint8)
    cv2.split(image_hwc, list(image_chw))  # five times as quick as numpy at 256 px
    return torch.from_numpy(image_chw)


class ImageDataset(Dataset[Item]):
    """Whole images in order: `image_chw` uint8 (3, H, W).

    If the truth is known also `labels_chw`, int32 (C, H, W), for each class 0 for background, n for
    its n-th object, and `target`, which is made of it.

    Args:
        paths: Path of each image.
        sizes: Height and width, px: of each image, (n, 2), or of all of them, (2,).
        truth: Their true objects, and what the network learns of them.
        reading: How they are read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: npt.ArrayLike,
        truth: tuple[TrueObjects, Targets] | None = None,
        *,
        reading: Reading = STRICT,
    ) -> None:
        self._images, self._truth = Images(paths, sizes, reading=reading), truth

    def __len__(self) -> int:
        return len(self._images)

    def most_px(self, batch_size: int) -> int:
        """Return the pixels of so many images, of the mean number each."""
        return batch_size * int(self._images.sizes.prod(axis=1).sum()) // max(len(self), 1)

    def batches(self, batch_size: int) -> list[list[int]]:
        """Cut the images into batches of neighbours of one size, which a network takes together.

        Args:
            batch_size: Images in a batch at most; of large ones so many as have no more pixels than
                `most_px`, but one at least.
        """
        most_px, batches = self.most_px(batch_size), list[list[int]]()
        sizes = self._images.sizes
        for size, same in groupby(range(len(sizes)), lambda index: tuple(sizes[index].tolist())):
            numbers, count = [*same], min(max(most_px // math.prod(size), 1), batch_size)
            batches += (numbers[at : at + count] for at in range(0, len(numbers), count))
        return batches

    def __getitem__(self, index: int) -> Item:
        image_hwc = self._images[index]
        item = {"image_chw": _tensor(image_hwc)}
        if self._truth is not None:
            objects, targets = self._truth
            height, width = image_hwc.shape[:2]
            labels_chw = objects.labels(index, slice(0, height), slice(0, width))
            item["labels_chw"] = torch.from_numpy(labels_chw)
            item["target"] = make_target(labels_chw, targets)
        return item


class CropDataset(Dataset[Item]):
    """Training crops, asked for by (epoch, index).

    Item: `image_chw` uint8 (3, S, S); `target` of the same crop, made after its augmentation;
    `image`, the number of the image it is from.

    Args:
        paths: Path of each image.
        objects: The true objects of each.
        targets: What the network learns of them.
        crops: Size, number and share of crops with objects; sizes in numbers.
        augment: Random changes.
        seed: The run's.
        stream: Names of this data's random stream, such as stage and fold.
        draw_weights: For each image its weight (>= 0) when images without objects are drawn, NaN
            where none knows: then it is the mean of the others'. None draws all of them alike.
        reading: How images are read.
        cache_mib: Memory for decoded images, if all of them fit: see `Images`.

    Attributes:
        size_px: Height and width of a crop.
        batch_size: Crops a step.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        objects: TrueObjects,
        *,
        targets: Targets,
        crops: Crops,
        augment: Augment,
        seed: int,
        stream: tuple[str | int, ...],
        draw_weights: np.ndarray | None = None,
        reading: Reading = STRICT,
        cache_mib: int = 0,
    ) -> None:
        self._images = Images(paths, objects.sizes, reading=reading, cache_mib=cache_mib)
        self._objects, self._targets = objects, targets
        self._crops = crops
        self.size_px, self.batch_size = crops.fixed_sizes()
        self._augmenter = Augmenter(augment)
        self._seed, self._stream = seed, stream
        self._with_objects = objects.images_with_objects()
        self._contacts = objects.contacts(targets.contact_px) if crops.contact_share > 0 else {}
        self._empty = np.setdiff1d(np.arange(len(paths)), self._with_objects)
        self._weights = None if draw_weights is None else _filled(draw_weights[self._empty])
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def __len__(self) -> int:
        """Crops in one epoch."""
        return self._crops.per_epoch

    def paths_of(self, images: torch.Tensor) -> list[str]:
        """Return the paths that the `image` of some items stand for."""
        return [str(self._images.path(image)) for image in images.tolist()]

    def _make_plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose each crop's image, and what the crop must hold."""
        random = generator(self._seed, *self._stream, epoch, "images")
        crops, count = self._crops, self._crops.per_epoch
        shares = crops.object_share, crops.empty_share, crops.contact_share
        ends = np.rint(count * np.cumsum(shares)).astype(int)
        objects, empty, contacts = np.diff(ends, prepend=0).tolist()
        if not self._contacts:
            objects, contacts = objects + contacts, 0
        if not self._with_objects.size:
            objects, empty = 0, count
        elif not self._empty.size:
            empty = 0
        rest = count - objects - empty - contacts
        images = np.concatenate(
            [
                _cycle(self._with_objects, objects, random),
                self._some_empty(empty, random),
                _cycle(np.array([*self._contacts], int), contacts, random),
                _cycle(self._with_objects, rest, random),
            ]
        )
        held = np.repeat(["object", "", "contact", ""], [objects, empty, contacts, rest])
        order = random.permutation(count)
        return images[order], held[order]

    def _some_empty(self, count: int, random: np.random.Generator) -> np.ndarray:
        if self._weights is None:
            return _cycle(self._empty, count, random)
        return random.choice(self._empty, count, p=self._weights / self._weights.sum())

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        stream = (*self._stream, epoch, index)
        images, held = self._plan(epoch)
        image = int(images[index])
        whole_hwc = self._images[image]
        random = generator(self._seed, *stream, "place")
        if held[index] == "object":
            rows, columns = self._place(random, image, self._objects.random_pixel(image, random))
        elif held[index] == "contact":
            rows, columns = self._place(random, image, random.choice(self._contacts[image]))
        else:
            places = [self._place(random, image) for _ in range(self._crops.busiest_of)]
            rows, columns = max(places, key=lambda place: _busyness(whole_hwc[place]))
        image_hwc = whole_hwc[rows, columns]
        labels_chw = self._objects.labels(image, rows, columns)
        missing = [self.size_px - length for length in labels_chw.shape[1:]]
        if any(missing):  # the image is smaller than the crop
            border = (0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101)
            image_hwc = cv2.copyMakeBorder(image_hwc, *border)
            labels_chw = np.stack([cv2.copyMakeBorder(each, *border) for each in labels_chw])
        seed = stream_seed(self._seed, *stream, "augment")
        image_hwc, labels_chw = self._augmenter(image_hwc, labels_chw, seed)
        return {
            "image_chw": _tensor(image_hwc),
            "target": make_target(labels_chw, self._targets),
            "image": torch.tensor(image),
        }

    def _place(
        self, random: np.random.Generator, image: int, pixel: np.ndarray | None = None
    ) -> tuple[slice, slice]:
        """Choose a window of an image: anywhere, or anywhere that holds `pixel`."""
        shape = self._objects.sizes[image]
        size = np.minimum(self.size_px, shape)
        low, high = np.zeros(2, dtype=int), shape - size
        if pixel is not None:
            low, high = np.maximum(pixel - size + 1, low), np.minimum(pixel, high)
        corner = random.integers(low, high, endpoint=True)
        rows, columns = (
            slice(int(start), int(start + length))
            for start, length in zip(corner, size, strict=True)
        )
        return rows, columns


def _filled(weights: np.ndarray) -> np.ndarray:
    """Put the mean of the known weights, 1 without any, in the place of those that are NaN."""
    known = weights[~np.isnan(weights)]
    return np.where(np.isnan(weights), known.mean() if known.size else 1.0, weights)


def _busyness(image_hwc: np.ndarray) -> float:
    """Return the deviation of the green values: open water has little, coasts and roofs much."""
    return float(cv2.meanStdDev(image_hwc[..., 1])[1].item())


def _cycle(items: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` of `items`, each once in random order before any is repeated."""
    if count == 0:
        return items[:0]
    rounds = -(-count // len(items))
    return np.concatenate([random.permutation(items) for _ in range(rounds)])[:count]
