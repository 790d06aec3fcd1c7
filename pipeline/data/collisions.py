"""Which cells of many tiles look alike: candidates for overlaps, found without comparing all.

Signatures of cells enter; pairs of cells leave, with chance hits among them. A cell is hashed by
the signs of random projections: each table takes some of them as a key, cells with equal keys are
paired, and since noise turns the least certain signs first, these are tried both ways. All signs
together then filter the pairs. Time is near-linear in the number of cells: key lengths grow with
it, and crowded keys (similar cells by the thousand) are compared among neighbours only.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.seeds import generator

Index = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

TABLES = 8
MAX_BITS = 21  # per key
UNSURE_BITS = 3
MAX_FLIPS = 2
CROWDED = 48  # cells under one key
DEVIATIONS = 3.0  # fewer signs beside the key must differ than chance gives: 1 pair in 740
PAIRS_PER_CELL, MAX_PAIRS = 250, 100_000_000  # by chance; fewer cells get shorter keys
PAIRS_AT_ONCE = 2_000_000
CELLS_AT_ONCE = 8192


def colliding_cells(
    values: npt.NDArray[np.int8], cells: Index, groups: npt.NDArray[np.int32]
) -> Iterator[tuple[Index, Index]]:
    """Propose pairs of cells that may show the same place.

    Args:
        values: int8 (n, values), signatures of cells.
        cells: The rows of `values` to look at, ascending.
        groups: int32 (tiles,), each tile owning n / tiles rows in turn; pairs within a group are
            not proposed. The caller changes it in place as it learns of links.

    Yields:
        Two arrays of rows, int64 (m,) each: the pairs in no particular order, some repeatedly. A
        later piece holds what earlier ones missed.
    """
    owners = (cells // (len(values) // len(groups))).astype(np.int32)
    flips = [f for size in range(MAX_FLIPS + 1) for f in combinations(range(UNSURE_BITS), size)]
    count = max(len(cells), 1)
    chance_pairs = TABLES * len(flips) * count**2
    bits = np.ceil(np.log2(chance_pairs / min(PAIRS_PER_CELL * count, MAX_PAIRS)))
    bits = int(np.clip(bits, UNSURE_BITS + 1, MAX_BITS))
    words, unsure = _project(values, cells, bits)
    others = TABLES * MAX_BITS - bits
    columns = [*np.ascontiguousarray(words.T)]
    max_different = others / 2 - DEVIATIONS * np.sqrt(others) / 2
    for table in range(TABLES):
        keys = _keys(words, table, bits)
        order = np.lexsort([words[:, -1], keys]).astype(np.int32)
        ends = np.cumsum(np.bincount(keys, minlength=2**bits))
        for flip in flips:
            probes = keys.copy()
            for bit in flip:
                probes ^= 1 << unsure[:, table, bit].astype(np.int64)
            stop = ends[probes]
            start = np.where(probes > 0, ends[probes - 1], 0)
            if flip:
                stop = np.where(stop - start > CROWDED, start, stop)
            else:
                start[order] = np.arange(1, len(cells) + 1)
                stop = np.minimum(stop, start + CROWDED)
            for one, at in expand(start, stop - start):
                other = order[at]
                apart = groups[owners[one]] != groups[owners[other]]
                one, other = one[apart], other[apart]  # noqa: PLW2901
                distance = sum(np.bitwise_count(word[one] ^ word[other]) for word in columns)
                near = distance <= max_different
                yield cells[one[near]], cells[other[near]]


def _project(
    values: npt.NDArray[np.int8], cells: Index, bits: int
) -> tuple[Words, npt.NDArray[np.uint8]]:
    """Hash cells.

    Returns:
        The signs of TABLES * MAX_BITS projections, packed into (cells, words); and, for each
        table, the places of the UNSURE_BITS least certain of its first `bits` signs, (cells,
        TABLES, UNSURE_BITS).
    """
    signs = np.zeros((len(cells), -(-TABLES * MAX_BITS // 64) * 8), np.uint8)
    unsure = np.empty((len(cells), TABLES, UNSURE_BITS), np.uint8)
    random = generator(0, "overlap keys").standard_normal((values.shape[1], TABLES * MAX_BITS))
    random = random.astype(np.float32)
    for start in range(0, len(cells), CELLS_AT_ONCE):
        rows = slice(start, start + CELLS_AT_ONCE)
        answers = values[cells[rows]].astype(np.float32) @ random
        packed = np.packbits(answers > 0, axis=1, bitorder="little")
        signs[rows, : packed.shape[1]] = packed
        certain = np.abs(answers).reshape(-1, TABLES, MAX_BITS)[:, :, :bits]
        unsure[rows] = np.argpartition(certain, UNSURE_BITS, axis=2)[:, :, :UNSURE_BITS]
    return signs.view("<u8"), unsure


def _keys(words: Words, table: int, bits: int) -> Index:
    """Return each cell's key in a table: its first `bits` signs as a number."""
    word, place = divmod(table * MAX_BITS, 64)
    keys = words[:, word] >> np.uint64(place)
    if place + MAX_BITS > 64:
        keys |= words[:, word + 1] << np.uint64(64 - place)
    return (keys & np.uint64(2**bits - 1)).astype(np.int64)


def expand(start: Index, sizes: Index) -> Iterator[tuple[Index, Index]]:
    """Yield every (row, start[row] + 0 .. sizes[row] - 1), in pieces that fit the memory."""
    sizes = np.maximum(sizes, 0)
    ends = np.cumsum(sizes)
    row = 0
    while row < len(sizes):
        before = ends[row] - sizes[row]
        stop = max(int(np.searchsorted(ends, before + PAIRS_AT_ONCE)), row + 1)
        rows = np.arange(row, stop)
        one = np.repeat(rows, sizes[rows])
        within = np.arange(len(one)) - np.repeat(ends[rows] - sizes[rows] - before, sizes[rows])
        yield one, start[one] + within
        row = stop
