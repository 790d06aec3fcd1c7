"""Masks as competitions number them, to and from the pipeline's own form, and what is done to runs.

The own form is `pipeline.masks.rle`'s: down the columns, from 1, absolute, with lengths. Which
numbers and which order of pixels a text has is `pipeline.config.competitions.Rle`'s.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config.competitions import Rle
from pipeline.errors import DataError
from pipeline.masks.rle import (
    Mask,
    Runs,
    decode_mask,
    encode_mask,
    encode_runs,
    fill,
    label_runs,
    parse_rows,
)

Owners = npt.NDArray[np.int64]
BLOCK_PX = 2**24  # sorted at once when pixels change their order


def from_numbering(encoded: Sequence[str], rle: Rle) -> list[str]:
    """Number masks' texts as the pipeline does; the order of their pixels stays.

    Of a text that is no pairs of whole numbers nothing is changed: `parse_runs` says what is wrong.
    """
    if rle.empty:
        encoded = ["" if text.strip() == rle.empty else text for text in encoded]
    if (rle.first, rle.relative, rle.ends) == (1, False, False):
        return [*encoded]
    return [_renumbered(text, rle) for text in encoded]


def _renumbered(encoded: str, rle: Rle) -> str:
    try:
        numbers = [int(token) for token in encoded.split()]
    except ValueError:
        return encoded
    if len(numbers) % 2:
        return encoded
    texts, behind = [], 0
    for start, second in zip(numbers[::2], numbers[1::2], strict=True):
        first = start + (1 - rle.first) + (behind if rle.relative else 0)
        length = second + (1 - rle.first) - first + 1 if rle.ends else second
        behind = first - 1 + length
        texts.append(f"{first} {length}")
    return " ".join(texts)


def to_numbering(runs: Runs, rle: Rle) -> str:
    """Write one mask's runs, in the form's order of pixels, as the form numbers them."""
    if not len(runs):
        return rle.empty
    starts, lengths = runs[:, 0], runs[:, 1]
    ends = starts + lengths
    firsts = starts - np.concatenate([[0], ends[:-1]]) if rle.relative else starts
    seconds = ends - 1 + rle.first if rle.ends else lengths
    return encode_runs(np.stack([firsts + rle.first - 1, seconds], axis=1))


def reorder(runs: Runs, owners: Owners, sizes: Owners) -> tuple[Runs, Owners]:
    """Turn runs along the rows into runs down the columns; of masks of (width, height) the reverse.

    Args:
        runs: int64 (n, 2) of [start0, length], those of a mask together.
        owners: For each the index of its mask, ascending.
        sizes: Height and width of each mask, px, int64 (masks, 2).

    Returns:
        The same of the same pixels, as long as they can be.
    """
    heights, widths = sizes.T
    size = int((heights * widths).max(initial=0))
    parts = [(np.empty((0, 2), np.int64), np.empty(0, np.int64))]
    for block in _blocks(runs, owners):
        lengths = runs[block, 1]
        offsets = runs[block, 0] - np.cumsum(lengths) + lengths
        owner = np.repeat(owners[block], lengths)
        row, column = np.divmod(np.repeat(offsets, lengths) + np.arange(len(owner)), widths[owner])
        # One pixel more to each mask keeps the last of one from joining the first of the next.
        places = owner * (size + 1) + column * heights[owner] + row
        places.sort()
        first = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        owner, starts = np.divmod(places[first], size + 1)
        lengths = np.diff(first, append=len(places))
        parts.append((np.stack([starts, lengths], axis=1), owner))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _blocks(runs: Runs, owners: Owners) -> Iterator[slice]:
    """Cut runs into blocks of whole masks, of about `BLOCK_PX` pixels."""
    new = np.flatnonzero(np.diff(owners, prepend=-1))
    block = np.concatenate([[0], np.cumsum(runs[:, 1])])[new] // BLOCK_PX
    ends = [*new[np.diff(block, prepend=-1) > 0].tolist(), len(runs)]
    return (slice(start, end) for start, end in pairwise(ends))


def unite(runs: Runs, owners: Owners, size: int) -> tuple[Runs, Owners]:
    """Unite runs of a mask that overlap or touch.

    Args:
        runs: int64 (n, 2) of [start0, length], in any order.
        owners: For each the index of its mask, in any order.
        size: Pixels of an image, or of the largest.

    Returns:
        Runs in order, and their owners, ascending.
    """
    starts = owners * (size + 1) + runs[:, 0]
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], (starts + runs[:, 1])[order]
    reached = np.maximum.accumulate(ends)
    first = np.flatnonzero(np.concatenate([[True], starts[1:] > reached[:-1]]))[: len(starts)]
    last = np.concatenate([first[1:], [len(starts)]])[: len(first)] - 1
    owner, place = np.divmod(starts[first], size + 1)
    return np.stack([place, reached[last] - starts[first]], axis=1), owner


def to_texts(runs: Runs, owners: Owners, count: int, rle: Rle) -> list[str]:
    """Write the masks 0..count-1, whose runs are in the form's order of pixels."""
    ends = np.searchsorted(owners, np.arange(count + 1))
    return [to_numbering(runs[a:b], rle) for a, b in pairwise(ends.tolist())]


def to_form(encoded: Sequence[str], rle: Rle, sizes: Owners) -> list[str]:
    """Write masks of the pipeline's form, of sizes as in `reorder`, as a competition has them.

    Raises:
        DataError: As `pipeline.masks.rle.parse_rows`.
    """
    runs, owners = parse_rows(encoded, *sizes.T)
    if rle.order == "rows":
        runs, owners = reorder(runs, owners, sizes[:, ::-1])
    elif rle.relative:
        runs, owners = unite(runs, owners, int(sizes.prod(axis=1).max(initial=0)))
    return to_texts(runs, owners, len(encoded), rle)


def shrink(encoded: str, shape: tuple[int, int], smaller: tuple[int, int]) -> str:
    """Shrink a mask: a pixel is set where at least half of those that it stands for are.

    Args:
        encoded: The mask, in the pipeline's form.
        shape: Height and width, px.
        smaller: Those wanted, whole parts of them, a pixel of at most 255 of the mask's.

    Raises:
        DataError: They are none; or as `pipeline.masks.rle.parse_runs`.
    """
    factors = [side // least for side, least in zip(shape, smaller, strict=True)]
    each = factors[0] * factors[1]
    if [f * s for f, s in zip(factors, smaller, strict=True)] != [*shape] or not 0 < each < 256:
        raise DataError(
            f"expected images of a whole number of times {smaller[1]}x{smaller[0]} px, got "
            f"{shape[1]}x{shape[0]}. Use the images as the organiser gives them."
        )
    if not encoded:
        return ""
    # The mean of `each` pixels of 0 or `each` is the number of those set, exactly.
    mask_hw = decode_mask(encoded, *shape) * np.uint8(each)
    counts_hw = cv2.resize(mask_hw, smaller[::-1], interpolation=cv2.INTER_AREA)
    halves: Mask = (2 * counts_hw.astype(np.int32) >= each).astype(np.uint8)
    return encode_mask(halves)


def part(runs: Runs, owners: Owners, size: int) -> tuple[Runs, Owners]:
    """Give each pixel that several masks of an image share to the smallest of them.

    Args:
        runs: int64 (n, 2) of [start0, length].
        owners: For each the index of its mask, ascending.
        size: Pixels of the image, or more.

    Returns:
        The same of masks that share no pixel; a mask that lost all of its own has no run.
    """
    masks, of = np.unique(owners, return_inverse=True)
    rank = np.argsort(np.argsort(-np.bincount(of, runs[:, 1]), kind="stable"))
    smallest_last = np.argsort(rank[of], kind="stable")
    flat = np.zeros((size, 1), np.int32)
    fill(flat.ravel(), runs[smallest_last], of[smallest_last] + 1)
    values, parted = label_runs(flat)
    return parted, masks[values - 1]
