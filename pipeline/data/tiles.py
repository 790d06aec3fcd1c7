"""Training crops: which part of which image the n-th crop of an epoch is, and its pixels.

A catalog enters; uint8 crops with their targets leave. The choice of a crop is a function of
(seed, stage, fold, epoch, index) alone, so any number of workers, and a resumed run, draw the same.
Images are cropped before anything else is done to them; normalisation is the network's.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from pipeline.config import Augment, Crops
from pipeline.data.augment import Augmenter
from pipeline.errors import DataError
from pipeline.seeds import generator, stream_seed
from pipeline.ships.rle import decode_labels

__all__ = ["CropDataset", "read_image"]


def read_image(path: Path) -> np.ndarray:
    """Read an image as uint8 (H, W, 3) RGB.

    Raises:
        DataError: The file is gone or cannot be decoded (any more).
    """
    image_hwc = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image_hwc is None:
        raise DataError(
            f"{path}: expected a readable image, as it was when the data was checked; it is now "
            f"{'damaged' if path.exists() else 'missing'}. Restore it and run again."
        )
    return image_hwc


class CropDataset(Dataset[dict[str, torch.Tensor]]):
    """The crops of one epoch; `set_epoch` moves on to another.

    Item: `image_chw` uint8 (3, S, S) and `target_chw` uint8 (1, S, S), 1 where a ship is.

    Args:
        paths: Path of each image.
        encoded: The RLEs of the ships in each image, an empty list for none.
        height: Of every image, px.
        width: Of every image, px.
        crops: Size, number and share of crops with ships.
        augment: Random changes.
        seed: The run's.
        stream: Names of this data's random stream, such as stage and fold.
    """

    def __init__(
        self,
        paths: list[Path],
        encoded: list[list[str]],
        height: int,
        width: int,
        *,
        crops: Crops,
        augment: Augment,
        seed: int,
        stream: tuple[str | int, ...],
    ) -> None:
        # Fixed-width arrays: forked loader processes share them instead of copying every string.
        self._paths = np.array([str(path) for path in paths])
        self._encoded = np.array([" | ".join(ships) for ships in encoded], dtype=np.str_)
        self._height, self._width = height, width
        self._crops = crops
        self._augmenter = Augmenter(augment)
        self._seed, self._stream = seed, stream
        self._with_ships = np.flatnonzero([bool(ships) for ships in encoded])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's images: every image once before any is seen again."""
        self._epoch = epoch
        random = generator(self._seed, *self._stream, epoch, "images")
        count = self._crops.per_epoch
        ships = round(count * self._crops.ship_share) if self._with_ships.size else 0
        ship_images = _cycle(self._with_ships, ships, random)
        any_images = _cycle(np.arange(len(self._paths)), count - ships, random)
        chosen = np.concatenate([ship_images, any_images])
        wants_ship = np.arange(count) < ships
        order = random.permutation(count)
        self._chosen, self._wants_ship = chosen[order], wants_ship[order]

    def __len__(self) -> int:
        return self._crops.per_epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        stream = (*self._stream, self._epoch, index)
        random = generator(self._seed, *stream, "crop")
        chosen = int(self._chosen[index])
        image_hwc = read_image(Path(str(self._paths[chosen])))
        if image_hwc.shape[:2] != (self._height, self._width):
            raise DataError(
                f"{self._paths[chosen]}: expected {self._width}x{self._height} px, as when the "
                f"data was checked, got {image_hwc.shape[1]}x{image_hwc.shape[0]}. Restore the file."
            )
        text = str(self._encoded[chosen])
        labels_hw = decode_labels(text.split(" | ") if text else [], self._height, self._width)
        top, left = self._place(labels_hw, bool(self._wants_ship[index]), random)
        size = self._crops.size_px
        image_hwc, labels_hw = image_hwc[top : top + size, left : left + size], labels_hw[
            top : top + size, left : left + size
        ]
        bottom, right = size - image_hwc.shape[0], size - image_hwc.shape[1]
        if bottom or right:  # the image is smaller than the crop
            image_hwc = cv2.copyMakeBorder(image_hwc, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
            labels_hw = cv2.copyMakeBorder(labels_hw, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
        image_hwc, labels_hw = self._augmenter(
            image_hwc, labels_hw, stream_seed(self._seed, *stream, "augment")
        )
        return {
            "image_chw": torch.from_numpy(np.ascontiguousarray(image_hwc.transpose(2, 0, 1))),
            "target_chw": torch.from_numpy((labels_hw > 0).astype(np.uint8)[None]),
        }

    def _place(
        self, labels_hw: np.ndarray, wants_ship: bool, random: np.random.Generator
    ) -> tuple[int, int]:
        """Choose the crop's top left corner: anywhere, or anywhere that holds a chosen ship pixel."""
        size = self._crops.size_px
        low, high = np.zeros(2, int), np.maximum(np.array(labels_hw.shape) - size, 0)
        if wants_ship:
            ship = random.integers(1, int(labels_hw.max()), endpoint=True)
            pixels = np.argwhere(labels_hw == ship)
            if len(pixels):
                pixel = pixels[random.integers(len(pixels))]
                low = np.clip(pixel - size + 1, low, high)
                high = np.clip(pixel, low, high)
        top, left = random.integers(low, high, endpoint=True)
        return int(top), int(left)


def _cycle(items: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` of `items`, each once in random order before any is repeated."""
    if count == 0:
        return items[:0]
    rounds = -(-count // len(items))
    return np.concatenate([random.permutation(items) for _ in range(rounds)])[:count]


def ships_of(instances: pd.DataFrame) -> dict[str, list[str]]:
    """Return the RLEs of each image's ships; an image without ships has an empty list."""
    return {
        str(image_id): [text for text in group if text]
        for image_id, group in instances.groupby("ImageId", sort=True)["EncodedPixels"]
    }
