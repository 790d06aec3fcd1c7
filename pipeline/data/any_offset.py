"""Which tiles share ground at any offset, turned or not, brighter or darker.

Signatures and files enter; pairs leave. `landmark_votes` proposes pairs and each is held to the
pixels by `same_ground`, for which the files are read once more.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.config.reading import STRICT, Reading
from pipeline.data.collisions import Index
from pipeline.data.images import read_luminance
from pipeline.data.landmark_votes import propose
from pipeline.data.same_ground import Tile, shared_ground
from pipeline.data.signatures import Signatures, luminance_table
from pipeline.errors import about

COVERED = (
    "compared at all offsets at which a quarter or more of a tile is shared; also if mirrored, "
    "turned by quarters, moved by a fraction of a pixel, of another brightness or contrast (0.8 to "
    "1.25), JPEG quality 70 or more. Other angles and scales are not covered, and solid areas and "
    "textures that repeat prove nothing"
)
"""What a search covers, as the log says it."""

KEPT_PX = 2**26  # of decoded tiles, for candidates come by tile


class Pair(NamedTuple):
    """Two tiles that share ground.

    Attributes:
        one: Number of a tile.
        other: Number of a later one.
        turn: What is done to it before it is laid over the first, as `landmarks.turned` has it.
        offset_yx: Where its corner lies then, px of the first.
    """

    one: int
    other: int
    turn: int
    offset_yx: tuple[int, int]


def find_pairs(
    signatures: Signatures,
    paths: Sequence[Path],
    groups: npt.NDArray[np.integer],
    *,
    jobs: int,
    reading: Reading = STRICT,
    every: bool = False,
) -> list[Pair]:
    """Find tiles of two groups that share ground.

    Args:
        signatures: Of n tiles.
        paths: Their files, as they were when they were described.
        groups: (n,), group of each tile, numbered from 0 on.
        jobs: Threads that decode and compare.
        reading: How pictures are read.
        every: Find all pairs, not only as many as connect the groups.

    Raises:
        DataError: A file cannot be read any more.
    """
    layout = signatures.layout

    @lru_cache(max(KEPT_PX // (layout.height * layout.width), 2 * jobs))
    def tile(number: int) -> Tile:
        with about(str(paths[number])):
            gray_hw, content = read_luminance(paths[number], reading)
        return Tile(gray_hw, luminance_table(content))

    def look(hypotheses: list[Pair]) -> Pair | None:
        for one, other, turn, offset_yx in hypotheses:
            found = shared_ground(tile(one), tile(other), turn, offset_yx)
            if found is not None:
                return Pair(one, other, turn, found)
        return None

    leaders = np.arange(int(groups.max(initial=-1)) + 1)

    def apart(hypotheses: list[Pair]) -> bool:
        one, other = (_leader(leaders, groups[tile]) for tile in hypotheses[0][:2])
        return every or one != other

    pairs = []
    candidates = _by_tiles(signatures, groups)
    with ThreadPoolExecutor(jobs) as pool:
        while batch := [*islice(filter(apart, candidates), 4 * jobs)]:
            for pair in pool.map(look, batch):
                if pair is not None:
                    pairs.append(pair)
                    one, other = (_leader(leaders, groups[tile]) for tile in pair[:2])
                    leaders[max(one, other)] = min(one, other)
    return pairs


def _by_tiles(signatures: Signatures, groups: npt.NDArray[np.integer]) -> Iterator[list[Pair]]:
    """Give the hypotheses of each pair of tiles together."""
    known = propose(signatures, groups)
    rows = zip(*(values.tolist() for values in known), strict=True)
    pairs = (Pair(one, other, turn, (y, x)) for one, other, turn, (y, x) in rows)
    for _, same in groupby(pairs, key=lambda pair: pair[:2]):
        yield [*same]


def _leader(leaders: Index, group: int) -> int:
    while leaders[group] != group:
        leaders[group] = group = leaders[leaders[group]]
    return int(group)
