"""The true objects of many images as flat arrays, which loader processes share."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.data.contact import contact
from pipeline.masks.rle import parse_runs


class TrueObjects:
    """The true objects of many images as runs, in a few flat arrays.

    Args:
        encoded: For each class of each image the RLEs of its objects, an empty list for none.
        sizes: Height and width, px: of each image, (n, 2), or of all of them, (2,).
        classes: How many there are.

    Attributes:
        sizes: Of each image, (n, 2).

    Raises:
        DataError: An RLE is not legal.
    """

    def __init__(
        self, encoded: Sequence[Sequence[str]], sizes: npt.ArrayLike, classes: int = 1
    ) -> None:
        self._classes = classes
        self.sizes = np.broadcast_to(np.asarray(sizes, np.int64), (len(encoded) // classes, 2))
        layers = zip(encoded, np.repeat(self.sizes, classes, axis=0).tolist(), strict=True)
        runs = [parse_runs(text, *size) for texts, size in layers for text in texts]
        self._runs = np.concatenate([np.zeros((0, 2), np.int64), *runs]).astype(np.int32)
        self._run_ends = np.cumsum([0, *(len(each) for each in runs)])
        self._layer_ends = np.cumsum([0, *(len(texts) for texts in encoded)])

    def count(self, image: int) -> int:
        """Return how many objects an image has, of all classes."""
        first, end = self._layer_ends[[image * self._classes, (image + 1) * self._classes]]
        return int(end - first)

    def images_with_objects(self) -> np.ndarray:
        """Return the numbers of the images that have an object."""
        return np.flatnonzero(np.diff(self._layer_ends[:: self._classes]))

    def _runs_of(self, image: int, number: int) -> np.ndarray:
        index = self._layer_ends[image * self._classes] + number
        return self._runs[self._run_ends[index] : self._run_ends[index + 1]]

    def random_pixel(self, image: int, random: np.random.Generator) -> np.ndarray:
        """Return (row, column) of a random pixel of a random object of the image."""
        runs = self._runs_of(image, int(random.integers(self.count(image))))
        ends = np.cumsum(runs[:, 1])
        drawn = int(random.integers(ends[-1]))
        run = int(np.searchsorted(ends, drawn, side="right"))
        position = runs[run, 0] + runs[run, 1] - (ends[run] - drawn)
        return np.array(divmod(position, self.sizes[image, 0])[::-1])

    def contacts(self, within_px: int) -> dict[int, np.ndarray]:
        """Return the pixels of contact of each image that has any, rows and columns, (n, 2).

        Args:
            within_px: See `pipeline.data.contact.contact`.
        """
        found: dict[int, np.ndarray] = {}
        boxes = self._boxes()
        for layer in np.flatnonzero(np.diff(self._layer_ends) > 1).tolist():
            first, last = boxes[:, slice(*self._layer_ends[layer : layer + 2])]
            # Two within reach of a pixel are within twice the reach of each other.
            reached = (first[:, None] - last[None] <= 2 * within_px).all(-1)
            near = (reached & reached.T).sum(0) > 1
            if not near.any():
                continue
            corner = np.maximum(first[near].min(0) - within_px, 0)
            image = layer // self._classes
            end = np.minimum(last[near].max(0) + within_px + 1, self.sizes[image])
            rows, columns = (slice(*ends) for ends in np.stack([corner, end], 1).tolist())
            pixels = np.argwhere(contact(self._layer(layer, rows, columns), within_px))
            if len(pixels):
                known = found.get(image, pixels[:0])
                found[image] = np.concatenate([known, pixels + corner])
        return found

    def _boxes(self) -> np.ndarray:
        """Return the first and the last row and column of every object, (2, objects, 2)."""
        first = self._runs[:, 0]
        last = first + self._runs[:, 1] - 1
        object_ends = self._layer_ends[:: self._classes]
        run_counts = np.diff(self._run_ends[object_ends])
        height = np.repeat(self.sizes[:, 0], run_counts)
        (column, row), (last_column, last_row) = (divmod(each, height) for each in (first, last))
        wraps = last_column > column
        low = np.stack([np.where(wraps, 0, row), column], 1)
        high = np.stack([np.where(wraps, height - 1, last_row), last_column], 1)
        starts = self._run_ends[:-1]
        return np.stack([np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)])

    def labels(self, image: int, rows: slice, columns: slice) -> np.ndarray:
        """Paint a window of the image.

        Returns:
            int32 (C, rows, columns), for each class 0 for background, n for its n-th object.
        """
        first = image * self._classes
        layers = range(first, first + self._classes)
        return np.stack([self._layer(layer, rows, columns) for layer in layers])

    def _layer(self, layer: int, rows: slice, columns: slice) -> np.ndarray:
        """Paint a window of one class of one image, int32 (rows, columns)."""
        first_object, end_object = self._layer_ends[layer : layer + 2]
        run_ends = self._run_ends[first_object : end_object + 1]
        runs = self._runs[run_ends[0] : run_ends[-1]]
        height = int(self.sizes[layer // self._classes, 0])
        flat = np.zeros((columns.stop - columns.start) * height, dtype=np.int32)
        starts = runs[:, 0] - columns.start * height
        ends = np.clip(starts + runs[:, 1], 0, flat.size)
        starts = np.clip(starts, 0, flat.size)
        # Each run's pixels are its start and those that follow: one count over all of them, from
        # which each run takes its part.
        lengths = ends - starts
        behind = np.cumsum(lengths)
        pixels = np.arange(lengths.sum()) + np.repeat(starts - behind + lengths, lengths)
        numbers = np.repeat(np.arange(1, len(run_ends)), np.diff(run_ends))
        flat[pixels] = np.repeat(numbers, lengths)
        return flat.reshape(-1, height).T[rows]
