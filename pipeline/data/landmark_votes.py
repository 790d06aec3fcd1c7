"""Which tiles may share ground at some offset and turn: those whose landmarks have equal codes.

Landmarks of many tiles enter; candidates leave, with chance hits among them. A table is keyed by a
few of a landmark's codes; landmarks under one key that agree in further codes vote for the turn and
offset that would make them one place. Keys grow with the number of landmarks, so that time is
near-linear in it. A key of many landmarks, as a repeated texture has, is compared among neighbours
only.
"""

import logging
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.collisions import Index, expand
from pipeline.data.landmarks import CODES, DIRECTIONS, NONE, between, shrinkage
from pipeline.data.signatures import Signatures

LOG = logging.getLogger(__name__)

VALUES = 2 * DIRECTIONS  # of a code
KEY_CODES = (2, 3, 4)  # of which the shortest with few chance pairs is taken
CHANCE_PAIRS = 40  # of a landmark in one table
CROWDED = 48  # landmarks under one key
MIN_EQUAL = 4  # codes of two landmarks, beside those of a key
BIN_PX = 6  # of a shrunk tile: votes this near are one candidate's; bins overlap by half
# A vote in which e of the codes agree is e - 1 times as rare, in logarithms, as this many nats.
NATS = 1.5
CHANCE_CANDIDATES = 0.3  # for each tile, from so many turns and bins of each other tile:
PLACES = 2400
MAX_HYPOTHESES = 2  # of two tiles, those with the highest scores
MAX_CANDIDATES = 48  # of a tile with later ones, the same


class Candidates(NamedTuple):
    """Pairs of tiles to be looked at, by tile, later tile and falling score; arrays of n.

    Attributes:
        one: int64, a tile.
        other: int64, a later tile.
        turn: int64, what is done to the later one before it is laid over the first.
        offsets_yx: int64 (n, 2), where its corner lies then, px of the first; but for rounding.
    """

    one: Index
    other: Index
    turn: Index
    offsets_yx: Index


def propose(signatures: Signatures, groups: npt.NDArray[np.integer]) -> Candidates:
    """Propose pairs of tiles of two groups that may show the same ground.

    Args:
        signatures: Of n tiles.
        groups: (n,), group of each tile.
    """
    count, landmarks, views, _ = signatures.codes.shape
    per_tile = landmarks * views
    codes = signatures.codes.reshape(-1, CODES)
    rows = np.flatnonzero(codes[:, 0] != NONE).astype(np.int32)
    length = next(
        (n for n in KEY_CODES if len(rows) / VALUES**n <= CHANCE_PAIRS * 2), KEY_CODES[-1]
    )
    found, crowded = [np.empty((2, 0), np.int64)], 0
    for first in range(0, CODES, length):
        keys = np.zeros(len(rows), np.uint32)
        for code in range(first, first + length):
            keys = keys * np.uint32(VALUES) + codes[rows, code]
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys = keys[order]
        last = np.searchsorted(keys, keys, side="right").astype(np.int32)
        at = np.arange(1, len(rows) + 1, dtype=np.int32)
        crowded += int((last - at > CROWDED).sum())
        for near, far in expand(at, np.minimum(last - at, CROWDED)):
            one, other = rows[order[near]], rows[order[far]]
            apart = groups[one // per_tile] != groups[other // per_tile]
            one, other = one[apart], other[apart]
            equal = (codes[one] == codes[other]).sum(axis=1)
            kept = equal >= max(MIN_EQUAL, length + 1)
            found.append(np.sort(np.stack([one[kept], other[kept]]), axis=0).astype(np.int64))
    if crowded:
        LOG.info(
            "overlaps: %.1f %% of the landmarks look like more than %d others and are compared "
            "with so many only",
            *(100 * crowded * length / CODES / len(rows), CROWDED),
        )
    one, other = np.concatenate(found, axis=1)
    return _elect(signatures, *_votes(signatures, one, other))


def _votes(signatures: Signatures, one: Index, other: Index) -> tuple[Index, ...]:
    """Turn pairs of views into votes: tile, later tile, turn, offset and number of equal codes."""
    count, landmarks, views, _ = signatures.codes.shape
    turns, codes = signatures.turns.ravel(), signatures.codes.reshape(-1, CODES)
    turn = between(turns[one], turns[other]).astype(np.int64)
    # Two landmarks vote for a turn once, whatever tables and views say so.
    pairs = (one // views * (count * landmarks) + other // views) * 8 + turn
    first = np.unique(pairs, return_index=True)[1]
    one, other, turn = one[first], other[first], turn[first]
    equal = (codes[one] == codes[other]).sum(axis=1)
    one, other = one // views, other // views
    layout = signatures.layout
    factor = shrinkage(layout.height, layout.width)
    places = signatures.places.reshape(-1, 2).astype(np.int64)
    laid = _turned_places(places[other], turn, (layout.height // factor, layout.width // factor))
    return one // landmarks, other // landmarks, turn, places[one] - laid, equal


def _elect(
    signatures: Signatures,
    one: Index,
    other: Index,
    turn: Index,
    offsets: Index,
    equal: Index,
) -> Candidates:
    """Keep what has so many votes that chance explains few."""
    layout, count = signatures.layout, len(signatures.codes)
    side = max(layout.height, layout.width)
    tiles = one * count + other
    scores, numbers = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        bins = (offsets + side + np.array([down, right]) * BIN_PX // 2) // BIN_PX
        width = 2 * side // BIN_PX + 2
        if count**2 * 8 * width**2 >= 2**63:
            raise ValueError(f"{count} tiles of {side} px are too many to number")
        code = ((tiles * 8 + turn) * width + bins[:, 0]) * width + bins[:, 1]
        _, number = np.unique(code, return_inverse=True)
        score = np.bincount(number, weights=equal - 1)
        numbers.append(number)
        scores.append(score[number])
    best = np.argmax(scores, axis=0)
    score = np.max(scores, axis=0)
    least = np.log(max(count, 2) / 2 * PLACES / CHANCE_CANDIDATES) / NATS
    enough = np.flatnonzero(score >= least)
    order = enough[np.argsort(-score[enough], kind="stable")]
    # Of a candidate's votes the first stands for all.
    bin_of = np.stack([tiles, turn, best, np.choose(best, numbers)], axis=1)[order]
    order = order[np.sort(np.unique(bin_of, axis=0, return_index=True)[1])]
    order = order[_rank(tiles[order]) < MAX_HYPOTHESES]
    order = order[_rank(one[order]) < MAX_CANDIDATES]
    order = order[np.argsort(tiles[order], kind="stable")]
    factor = shrinkage(layout.height, layout.width)
    return Candidates(one[order], other[order], turn[order], offsets[order] * factor)


def _rank(values: Index) -> Index:
    """Count how often each value has come before."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    return rank


def _turned_places(places: Index, turn: Index, shape: tuple[int, int]) -> Index:
    """Return where places of a tile of that shape lie once it is turned, (n, 2)."""
    flipped = np.where(
        np.stack([turn & 1, turn & 2], axis=1) > 0, np.array(shape) - 1 - places, places
    )
    return np.where((turn & 4)[:, None] > 0, flipped[:, ::-1], flipped)
