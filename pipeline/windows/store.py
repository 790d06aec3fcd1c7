"""What networks say of an image's windows, kept on the disk, and blended into maps of any part.

A group of windows is a file. Killed, the work resumes where it was, and ends with the same bytes:
what is predicted together never depends on what was there before. No map of the whole image is
ever in memory.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.errors import ArtifactError
from pipeline.inference.regions import Box
from pipeline.jobs.artifacts import read_json, write_atomic, write_json
from pipeline.windows import BLOCK_PX
from pipeline.windows.grid import VERSION, Grid, Group, blocks
from pipeline.windows.pixels import Pixels

Levels = npt.NDArray[np.uint8]
Answer = Callable[[Levels], tuple[Levels, Sequence[float | None]]]
"""Predicts windows, uint8 (n, h, w, 3) RGB: levels, uint8 (n, c, h, w), and image heads' answers.

What it says of one depends on those beside it no more than by rounding."""

MANIFEST = "manifest.json"
CACHE_BYTES = 2**27


class Windows:
    """The windows of one image, as far as they are predicted.

    Args:
        folder: Where they are kept; made if missing.
        grid: Where they lie.
        channels: Of the levels.
        identity: JSON values: all that decides the levels, beside the grid.
        block_px: Side of what is blended at a time.

    Attributes:
        grid: As given.
        block_px: As given.
        computed: Which windows were, bool (rows, columns); those without a valid pixel are not.

    Raises:
        ArtifactError: The folder holds windows of something else.
    """

    def __init__(
        self,
        folder: Path,
        grid: Grid,
        channels: int,
        identity: dict[str, Any],
        *,
        block_px: int = BLOCK_PX,
    ) -> None:
        self.grid, self.block_px, self._folder, self._channels = grid, block_px, folder, channels
        self.computed = np.zeros(grid.shape, np.bool_)
        self._heads = np.full(grid.shape, np.nan)
        room = max(1, CACHE_BYTES // (channels * grid.weights_hw.size))
        self._window = lru_cache(room)(partial(_unpack, folder, grid.group))
        wanted = {"grid": [VERSION, *grid.shape, *grid.window, grid.group], **identity}
        refuse_others(folder / MANIFEST, wanted, "the windows")
        write_json(folder / MANIFEST, wanted)

    def predict(self, pixels: Pixels, answer: Answer, *, progress: bool = False) -> None:
        """Predict the windows that are not there yet.

        Args:
            pixels: The image.
            answer: Predicts windows.
            progress: Whether to show how far it is.

        Raises:
            ArtifactError: A file is damaged, or the disk is full.
            DataError: Pixels cannot be read.
        """
        todo = [group for group in self.grid.groups() if not self._found(group)]
        total = self.computed.size
        left = sum(len(group.columns) for group in todo)
        with tqdm(
            total=total,
            initial=total - left,
            desc=pixels.name,
            unit="window",
            disable=None if progress and len(todo) > 1 else True,
        ) as bar:
            for group in todo:
                self._add(group, pixels, answer)
                bar.update(len(group.columns))

    def _found(self, group: Group) -> bool:
        """Take in which windows of a group were predicted, if it is there."""
        path = _file(self._folder, group.row, group.columns[0])
        if not path.exists():
            return False
        columns, heads = _read(path, "columns", "heads")
        self._enter(group.row, columns, heads)
        return True

    def _enter(self, row: int, columns: npt.NDArray[Any], heads: npt.NDArray[Any]) -> None:
        self.computed[row, columns] = True
        self._heads[row, columns] = heads

    def _add(self, group: Group, pixels: Pixels, answer: Answer) -> None:
        boxes = [self.grid.box(group.row, column) for column in group.columns]
        strip = boxes[0].around(boxes[-1])
        image_hwc, valid_hw = pixels.read(strip)
        inside = [box.within(strip).slices for box in boxes]
        seen = [number for number, at in enumerate(inside) if valid_hw[at].any()]
        columns = np.array([group.columns[number] for number in seen], np.int64)
        heads, levels = np.zeros(0), {}
        if seen:
            levels_nchw, probabilities = answer(np.stack([image_hwc[inside[n]] for n in seen]))
            heads = np.array(probabilities, np.float64)  # None becomes NaN
            levels = {
                f"levels{group.columns[n]}": levels_chw * valid_hw[inside[n]]
                for n, levels_chw in zip(seen, levels_nchw, strict=True)
            }
        write_atomic(
            _file(self._folder, group.row, group.columns[0]),
            lambda file: np.savez_compressed(file, columns=columns, heads=heads, **levels),
        )
        self._enter(group.row, columns, heads)

    def levels(self, box: Box) -> Levels:
        """Return the blended levels of a box within the image, uint8 (c, h, w).

        They do not depend on the box. Pixels that are not valid, or that no window sees, are 0.
        """
        levels_chw = np.zeros((self._channels, *box.shape), np.uint8)
        for block in blocks(box, self.block_px):
            rows, columns = self.grid.touching(block)
            if self.computed[rows.start : rows.stop, columns.start : columns.stop].any():
                levels_chw[:, *block.within(box).slices] = self._blend(block, rows, columns)
        return levels_chw

    def _blend(self, block: Box, rows: range, columns: range) -> Levels:
        total_chw = np.zeros((self._channels, *block.shape), np.float32)
        weights_hw = np.zeros(block.shape, np.float32)
        for row in rows:
            for column in columns:
                if not self.computed[row, column]:
                    continue
                window = self.grid.box(row, column)
                shared = window.shared(block)
                inside, outside = shared.within(window).slices, shared.within(block).slices
                weight_hw = self.grid.weights_hw[inside]
                total_chw[:, *outside] += self._window(row, column)[:, *inside] * weight_hw
                weights_hw[outside] += weight_hw
        total_chw /= np.maximum(weights_hw, np.finfo(np.float32).tiny)
        return np.rint(total_chw).astype(np.uint8)

    def image_prob(self, box: Box) -> float | None:
        """Return the probability of any object, as the window that sees a box best has it.

        That is, of those that were predicted, the one whose centre is nearest to the box's; None
        without an image head.
        """
        rows, columns = self.grid.touching(box)
        places = [(r, c) for r in rows for c in columns if self.computed[r, c]]
        seen = np.array([self.grid.box(*place) for place in places])
        apart = ((seen[:, :2] + seen[:, 2:] - np.add(box[:2], box[2:])) ** 2).sum(1)
        probability = float(self._heads[places[int(apart.argmin())]])
        return None if np.isnan(probability) else probability


def refuse_others(path: Path, wanted: dict[str, Any], what: str) -> None:
    """Raise an error if a file says that a folder holds what was made of something else.

    Raises:
        ArtifactError: The file names another identity, or is damaged.
    """
    if not path.exists():
        return
    found = read_json(path)
    differ = [key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]]
    if differ:
        raise ArtifactError(
            f"{path.parent}: expected {what} of the same {' and '.join(differ)}, got those of "
            "another. Give another --out; or delete that folder, if it is not needed."
        )


def _file(folder: Path, row: int, first: int) -> Path:
    return folder / f"{row}-{first}.npz"


def _unpack(folder: Path, group: int, row: int, column: int) -> Levels:
    (levels_chw,) = _read(_file(folder, row, column - column % group), f"levels{column}")
    return levels_chw


def _read(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (BadZipFile, zlib.error, ValueError, KeyError, EOFError) as error:
        raise ArtifactError(
            f"{path}: damaged ({error}). Delete it and run the same command again: it resumes."
        ) from error
