"""What a tile shows, in about 2.5 kB: enough to recognise any shared third of it elsewhere.

A tile's luminance enters; the answers of a few thousand masks leave. A tile is seen as cells, one
for each place where another tile's corner may lie when tiles are cut at steps of a third of their
side. A cell is shrunk by area (that averages most JPEG noise away) and described by zero-mean
random masks, one small patch each: blind to brightness and slope, near zero on solid areas, and as
telling on fine sea clutter as on a coast. Answers are kept on a logarithmic scale in 8 bits.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.seeds import generator

MAX_PATCHES = 16  # per cell side; a patch is 4x4 pixels of the shrunk cell
MIN_PATCH_PX = 8
SHORTEST_PX = 8  # side of a tile
VALUES = 256  # wanted per cell: small cells have fewer patches and more masks on each
LINEAR_BELOW = 0.2  # grey levels; above it the scale is logarithmic, its step 6 %
SCALE = float(127 / np.log1p(512 / LINEAR_BELOW))
MEAN_STEPS = 64  # cell means are kept in 1/64 grey level
SMOOTH_WAVES = ((1, 1), (2, 0), (0, 2), (1, 2), (2, 1), (2, 2))  # down, across
SAMPLED_BLOCKS = 6  # of 8x8 px, down and across a cell, to estimate its noise
COSINES = (np.cos((2 * np.arange(8) + 1) * np.arange(8)[:, None] * np.pi / 16) / 2).astype("f4")
COSINES[0] = np.sqrt(1 / 8)
WAVES = np.kron(COSINES, COSINES)
ZIGZAG = sorted(np.ndindex(8, 8), key=lambda at: (sum(at), at[0] if sum(at) % 2 else -at[0]))


@dataclass(frozen=True)
class Layout:
    """Where the cells of a tile lie.

    Attributes:
        height: Of a tile, px.
        width: Of a tile, px.
    """

    height: int
    width: int

    @cached_property
    def cell_hw(self) -> tuple[int, int]:
        """Height and width of a cell: what two tiles share at least, px."""
        return self.height - _origins(self.height)[-1], self.width - _origins(self.width)[-1]

    @cached_property
    def origins_yx(self) -> list[tuple[int, int]]:
        """Upper left corner of each cell, px; 9 cells, or 36 where the side is no multiple of 3."""
        return list(product(_origins(self.height), _origins(self.width)))

    @cached_property
    def patches_hw(self) -> tuple[int, int]:
        """Number of patches down and across a cell."""
        high, wide = (min(max(side // MIN_PATCH_PX, 1), MAX_PATCHES) for side in self.cell_hw)
        return high, wide

    @cached_property
    def masks(self) -> int:
        """Number of masks per patch."""
        high, wide = self.patches_hw
        return min(-(-VALUES // (high * wide)), 8)

    @cached_property
    def offsets_yx(self) -> list[tuple[int, int]]:
        """Positions of another tile, relative to this one, at which both share a cell; px."""
        return list(product(_offsets(self.height), _offsets(self.width)))

    def shared_cells(self, offset_yx: tuple[int, int]) -> npt.NDArray[np.intp]:
        """Pairs (cell of a tile, cell of the tile `offset_yx` px away) that show the same place.

        Returns:
            Indices into `origins_yx`, shape (n, 2), n >= 1.
        """
        place = {origin: index for index, origin in enumerate(self.origins_yx)}
        pairs = []
        for (y, x), index in place.items():
            there = place.get((y - offset_yx[0], x - offset_yx[1]))
            if there is not None:
                pairs.append((index, there))
        return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _origins(side: int) -> list[int]:
    low, high = side // 3, -(-side // 3)
    return sorted({0, low, high, 2 * low, low + high, 2 * high})


def _offsets(side: int) -> list[int]:
    return sorted({sign * origin for origin in _origins(side) for sign in (-1, 1)})


@dataclass(frozen=True)
class Signatures:
    """What `n` tiles of one size show.

    Attributes:
        layout: Where the cells lie.
        values: int8 (n, cells, values): answers of the masks on the logarithmic scale.
        means: uint16 (n, cells, 4): mean of each quarter of a cell, in 1/64 grey level.
        noise: float32 (n, cells): standard deviation, in grey levels, that JPEG's rounding may give
            an answer, from the file's own quantisation table.
        tables: uint32 (n,): a mark of that table; tiles with equal marks were rounded alike.
        codes: uint8 (n, landmarks, views, codes), as `landmarks.describe` gives them.
        places: int16 (n, landmarks, 2), of the same.
        turns: uint8 (n, landmarks, views), of the same.
    """

    layout: Layout
    values: npt.NDArray[np.int8]
    means: npt.NDArray[np.uint16]
    noise: npt.NDArray[np.float32]
    tables: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int16]
    turns: npt.NDArray[np.uint8]


def to_levels() -> npt.NDArray[np.float32]:
    """Return the grey levels that the 256 values of an int8 stand for, indexed by value + 128."""
    steps = np.arange(-128, 128)
    levels = np.sign(steps) * LINEAR_BELOW * np.expm1(np.abs(steps) / SCALE)
    return np.asarray(levels, dtype=np.float32)


@cache
def _masks(patches: int, masks: int) -> npt.NDArray[np.float32]:
    """Random masks (masks, patches, 16): orthonormal, blind to constants and slopes, and smooth.

    The fastest waves of a patch are left out, for JPEG's rounding takes most of them.
    """
    at = np.arange(4)
    waves = np.cos((2 * at + 1) * at[:, None] * np.pi / 8) / np.sqrt(2)
    smooth = [np.outer(waves[v], waves[u]).ravel() for v, u in SMOOTH_WAVES]
    y, x = np.mgrid[-1.5:2:1, -1.5:2:1]
    blind = np.stack([np.ones(16), y.ravel(), x.ravel()], axis=1)
    mixture = generator(0, "overlap masks").standard_normal((patches, len(smooth), masks))
    random = np.stack(smooth, axis=1) @ mixture
    full = np.concatenate([np.broadcast_to(blind, (patches, 16, 3)), random], axis=2)
    orthonormal, _ = np.linalg.qr(full)
    return np.ascontiguousarray(orthonormal[:, :, 3:].transpose(2, 0, 1), dtype=np.float32)


def sign(
    gray_hw: npt.NDArray[np.uint8], layout: Layout
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    """Describe one tile.

    Args:
        gray_hw: Its luminance.
        layout: Of a tile of that size.

    Returns:
        `values` (cells, values) and `means` (cells, 4) as in `Signatures`.
    """
    high, wide = layout.patches_hw
    small = _shrink(gray_hw, layout)
    answers = _answers(small, layout)
    scaled = np.copysign(np.log1p(np.abs(answers) * (1 / LINEAR_BELOW)) * SCALE, answers)
    quarters = small.reshape(-1, 2, 2 * high, 2, 2 * wide).mean(axis=(2, 4)).reshape(-1, 4)
    return (
        np.clip(np.rint(scaled), -127, 127).astype(np.int8),
        np.rint(quarters * MEAN_STEPS).astype(np.uint16),
    )


def _shrink(gray_hw: npt.NDArray[np.uint8 | np.float32], layout: Layout) -> npt.NDArray[np.float32]:
    """Shrink each cell by area to 4x4 pixels per patch; float32 (cells, height, width)."""
    high, wide = layout.patches_hw
    cell_h, cell_w = layout.cell_hw
    down, across = cell_h // (4 * high), cell_w // (4 * wide)
    if gray_hw.shape == (12 * high * down, 12 * wide * across):
        # Nine cells and a whole factor: adding up integers is twice as fast as resizing.
        rows = _add_every(gray_hw.reshape(-1, down, gray_hw.shape[1]).transpose(1, 0, 2))
        whole = _add_every(rows.reshape(12 * high, 12 * wide, across).transpose(2, 0, 1))
        cells = whole.reshape(3, 4 * high, 3, 4 * wide).transpose(0, 2, 1, 3)
        return np.asarray(
            cells.reshape(9, 4 * high, 4 * wide) * np.float32(1 / (down * across)), np.float32
        )
    image = gray_hw.astype(np.float32)
    crops = [image[y : y + cell_h, x : x + cell_w] for y, x in layout.origins_yx]
    size = (4 * wide, 4 * high)
    return np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops])


def _add_every(parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wide_enough = np.uint16 if len(parts) <= 16 else np.uint32  # 16 * 16 * 255 is below 2^16
    total = parts[0].astype(np.promote_types(parts.dtype, wide_enough))
    for part in parts[1:]:
        total += part
    return np.asarray(total)


def _answers(small: npt.NDArray[np.float32], layout: Layout) -> npt.NDArray[np.float32]:
    """Put the masks on the patches of shrunk cells; float32 (cells, values)."""
    high, wide = layout.patches_hw
    patches = small.reshape(-1, high, 4, wide, 4).transpose(0, 1, 3, 2, 4)
    patches = patches.reshape(-1, high * wide, 16)
    answers = np.einsum("cpi,kpi->ckp", patches, _masks(high * wide, layout.masks))
    return np.asarray(answers.reshape(len(small), -1), np.float32)


def jpeg_noise(
    table: npt.NDArray[np.uint16], gray_hw: npt.NDArray[np.uint8], layout: Layout
) -> npt.NDArray[np.float32]:
    """Estimate the noise that JPEG's rounding makes in the answers, from the file's own table.

    Rounding a coefficient to multiples of q leaves a variance of q^2 / 12; where nearly all of a
    frequency is rounded to zero, two copies of the same place can differ by no more than what is
    left of it. Shrinking and masks pass the part that `_passed` gives.

    Args:
        table: The file's luminance quantisation table, (8, 8).
        gray_hw: Its luminance.
        layout: Of a tile of that size.

    Returns:
        Standard deviation for each cell, grey levels, shape (cells,).

    Source: ITU-T T.81, A.3.3 and A.3.4.
    """
    cell_h, cell_w = layout.cell_hw
    down, across = (max(side // (8 * SAMPLED_BLOCKS), 1) for side in layout.cell_hw)
    grid = np.lib.stride_tricks.sliding_window_view(gray_hw, (8, 8))[:: 8 * down, :: 8 * across]
    # OpenCV's product, for it stays on one thread: numpy's costs 20 times as much in busy workers.
    blocks = grid.reshape(-1, 64).astype(np.float32)
    found = cv2.gemm(blocks, WAVES, 1, None, 0, flags=cv2.GEMM_2_T)
    energy = (found**2).reshape(*grid.shape[:2], 64)
    starts = [(-(-y // (8 * down)), -(-x // (8 * across))) for y, x in layout.origins_yx]
    high, wide = max(cell_h // (8 * down), 1), max(cell_w // (8 * across), 1)
    sums = [energy[y : y + high, x : x + wide].sum(axis=(0, 1)) for y, x in starts]
    means = np.stack(sums) / (high * wide)
    rounding = (table.ravel().astype(np.float32) ** 2 + 1) / 12
    variance = (np.minimum(rounding, means + 1 / 12) * _passed(layout)).sum(axis=1)
    return np.asarray(np.sqrt(variance), dtype=np.float32)


@cache
def _passed(layout: Layout) -> npt.NDArray[np.float32]:
    """Variance of the answers where one of the 64 waves has random signs, (cells, 64).

    Found by trying: a tile of nothing but that wave, of variance 1 in each block, is described.
    """
    down, across = -(-layout.height // 8), -(-layout.width // 8)
    signs = generator(0, "overlap noise").integers(2, size=(down, 1, across, 1)) * 2 - 1
    passed = []
    for wave in WAVES.reshape(64, 8, 1, 8):
        tile = (signs * wave).astype(np.float32).reshape(8 * down, 8 * across)
        small = _shrink(tile[: layout.height, : layout.width], layout)
        passed.append((_answers(small, layout) ** 2).mean(axis=1))
    return np.stack(passed, axis=1)


def luminance_table(content: bytes) -> npt.NDArray[np.uint16]:
    """Return a JPEG file's quantisation table 0 as (8, 8), rows down; zeros for any other file.

    Source: ITU-T T.81, B.2.4.1 and figure A.6.
    """
    table = np.zeros((8, 8), np.uint16)
    at = 2
    while content[:2] == b"\xff\xd8" and at + 4 <= len(content) and content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at + 4 : at + 2 + length]
        while content[at + 1] == 0xDB and segment:
            wide = segment[0] >> 4
            entries = np.frombuffer(segment, ">u2" if wide else "u1", 64, 1)
            if segment[0] & 15 == 0:
                table[tuple(zip(*ZIGZAG, strict=True))] = entries
            segment = segment[1 + 64 * (1 + wide) :]
        at += 2 + length
    return table
