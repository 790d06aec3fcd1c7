"""Which tiles may share ground at some offset and turn: those whose landmarks have equal codes.

Landmarks of many tiles enter; candidates leave, with chance hits among them. A table is keyed by a
few of a landmark's codes; landmarks under one key that agree in further codes vote for the turn and
offset that would make them one place. Keys grow with the number of landmarks, so that time is
near-linear in it. A key of many landmarks, as a repeated texture has, is compared among neighbours
only.
"""

import logging
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.collisions import Index, expand
from pipeline.data.landmarks import (
    CODES,
    DIRECTIONS,
    LANDMARKS,
    NONE,
    VIEWS,
    between,
    shrinkage,
)
from pipeline.data.signatures import Signatures

LOG = logging.getLogger(__name__)

VALUES = 2 * DIRECTIONS  # of a code
KEY_CODES = (2, 3, 4)  # of which the shortest with few chance pairs is taken
CHANCE_PAIRS = 500_000  # in one table
LANDMARKS_AT_ONCE = 2**21
CROWDED = 48  # landmarks under one key
FURTHER_CODES = 2  # beside those of a key, that must be equal for a vote
BIN_PX = 6  # of a shrunk tile: votes this near are one candidate's; bins overlap by half
# A vote in which e of the codes agree is e - 1 times as rare, in logarithms, as this many nats.
NATS = 1.5
CHANCE_CANDIDATES = 0.3  # for each tile, from so many turns and bins of each other tile:
PLACES = 2400
MAX_HYPOTHESES = 2  # of two tiles, those with the highest scores
MAX_CANDIDATES = 24  # of a tile with later ones, the same


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
    per_tile = LANDMARKS * VIEWS
    codes = signatures.codes.reshape(-1, CODES)
    rows = np.flatnonzero(codes[:, 0] != NONE).astype(np.int32)
    chance = {size: len(rows) ** 2 / 2 / VALUES**size for size in KEY_CODES}
    length = next((size for size in KEY_CODES if chance[size] <= CHANCE_PAIRS), KEY_CODES[-1])
    found, crowded = [np.empty((2, 0), np.int64)], 0
    parts = -(-len(rows) // LANDMARKS_AT_ONCE)
    ends = VALUES * np.arange(parts + 1) // max(parts, 1)
    for first, (low, high) in product(range(0, CODES, length), pairwise(ends)):
        leading = codes[rows, first]
        part = rows[(leading >= low) & (leading < high)]
        keys = np.zeros(len(part), np.uint32)
        for code in range(first, first + length):
            keys = keys * np.uint32(VALUES) + codes[part, code]
        order = np.argsort(keys, kind="stable")
        part, keys = part[order], keys[order]
        group = groups[part // per_tile]
        last = np.searchsorted(keys, keys, side="right")
        at = np.arange(1, len(part) + 1)
        crowded += int((last - at > CROWDED).sum())
        for near, far in expand(at, np.minimum(last - at, CROWDED)):
            apart = group[near] != group[far]
            one, other = part[near[apart]], part[far[apart]]
            kept = _equal_codes(codes, one, other) >= length + FURTHER_CODES
            found.append(np.sort(np.stack([one[kept], other[kept]]), axis=0).astype(np.int64))
    if crowded:
        LOG.info(
            "overlaps: %.1f %% of the landmarks look like more than %d others and are compared "
            "with so many only",
            *(100 * crowded * length / CODES / len(rows), CROWDED),
        )
    return _elect(signatures, _votes(signatures, *np.concatenate(found, axis=1)))


def _equal_codes(codes: npt.NDArray[np.uint8], one: Index, other: Index) -> npt.NDArray[np.uint8]:
    """Count the codes in which rows agree, (n,)."""
    count = np.zeros(len(one), np.uint8)
    for words in codes.view("<u4").T:
        differ = words[one] ^ words[other]
        # The highest bit of each byte that is zero, and no other bit, is set.
        low = np.uint32(0x7F7F7F7F)
        count += np.bitwise_count(~(((differ & low) + low) | differ | low))
    return count


class _Votes(NamedTuple):
    """Pairs of landmarks: their tiles, and where they say that the later one lies; arrays of n."""

    one: Index
    other: Index
    turn: Index
    offsets_yx: Index  # (n, 2), px of the shrunk tile
    weight: Index

    def only(self, rows: npt.NDArray[np.bool_] | Index) -> "_Votes":
        return _Votes(*(values[rows] for values in self))


def _votes(signatures: Signatures, one: Index, other: Index) -> _Votes:
    """Turn pairs of views, some of them repeated, into votes."""
    count = len(signatures.codes) * LANDMARKS
    turns, codes = signatures.turns.ravel(), signatures.codes.reshape(-1, CODES)
    turn = between(turns[one], turns[other]).astype(np.int64)
    # Two landmarks vote for a turn once, whatever tables and views say so.
    pairs = (one // VIEWS * count + other // VIEWS) * 8 + turn
    first = np.unique(pairs, return_index=True)[1]
    one, other, turn = one[first], other[first], turn[first]
    weight = _equal_codes(codes, one, other).astype(np.int64) - 1
    one, other = one // VIEWS, other // VIEWS
    layout = signatures.layout
    factor = shrinkage(layout.height, layout.width)
    places = signatures.places.reshape(-1, 2).astype(np.int64)
    laid = _turned_places(places[other], turn, (layout.height // factor, layout.width // factor))
    return _Votes(one // LANDMARKS, other // LANDMARKS, turn, places[one] - laid, weight)


def _elect(signatures: Signatures, votes: _Votes) -> Candidates:
    """Keep the candidates that have so many votes that chance explains few."""
    layout, count = signatures.layout, len(signatures.codes)
    least = np.log(max(count, 2) / 2 * PLACES / CHANCE_CANDIDATES) / NATS
    _, pair = np.unique(votes.one * count + votes.other, return_inverse=True)
    # Most pairs of tiles have too few votes wherever they lie.
    votes = votes.only(np.bincount(pair, weights=votes.weight)[pair] >= least)
    tiles = votes.one * count + votes.other
    factor = shrinkage(layout.height, layout.width)
    side = max(layout.height, layout.width) // factor
    width = 2 * side // BIN_PX + 2
    scores, bins = [], []
    for start in product((0, BIN_PX // 2), repeat=2):
        y, x = ((votes.offsets_yx + side + start) // BIN_PX).T
        _, number = np.unique(
            ((tiles * 8 + votes.turn) * width + y) * width + x, return_inverse=True
        )
        scores.append(np.bincount(number, weights=votes.weight)[number])
        bins.append(number)
    best, score = np.argmax(scores, axis=0), np.max(scores, axis=0)
    enough = np.flatnonzero(score >= least)
    order = enough[np.argsort(-score[enough], kind="stable")]
    # Of a candidate's votes the first stands for all.
    candidate = np.stack([best, np.choose(best, bins)], axis=1)[order]
    order = order[np.sort(np.unique(candidate, axis=0, return_index=True)[1])]
    order = order[_rank(tiles[order]) < MAX_HYPOTHESES]
    order = order[_rank(votes.one[order]) < MAX_CANDIDATES]
    kept = votes.only(order[np.argsort(tiles[order], kind="stable")])
    return Candidates(kept.one, kept.other, kept.turn, kept.offsets_yx * factor)


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
