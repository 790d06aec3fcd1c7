"""The numbers of COCO's masks, and the letters that they are written with.

A mask is the lengths of its runs down the columns, background and object in turn, background
first. Compressed, each is told by what it adds to the one two before (from the fourth on), in
groups of five bits, lowest first, a letter from "0" on each; 32 says that another one follows.

Source: pycocotools 2.0.11, `rleToString` in common/maskApi.c.
"""

import numpy as np
import numpy.typing as npt

from pipeline.annotations.annotation import RefusalError
from pipeline.masks.rle import Runs

Counts = npt.NDArray[np.int64]
EXPORT_AGAIN = "Export it again."


def from_counts(counts: object, size: int) -> Runs:
    """Return the runs of a mask of `size` pixels; some may be empty, or touch.

    Args:
        counts: Its lengths, or their letters.
        size: Pixels that they must add up to.

    Raises:
        RefusalError: They do not, or are no lengths.
    """
    try:
        if isinstance(counts, str):
            lengths = decompress(counts)
        else:
            lengths = np.asarray(counts, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise RefusalError("expected counts of pixels, got something else", EXPORT_AGAIN) from None
    ends = np.cumsum(lengths)
    # One that is too long by itself could make their sum come round to the size.
    if ((lengths < 0) | (lengths > size)).any() or not len(ends) or ends[-1] != size:
        total = ends[-1] if len(ends) else 0
        raise RefusalError(
            f"expected counts from 0 on of {size} pixels in all, got {total}", EXPORT_AGAIN
        )
    return np.stack([ends[:-1:2], lengths[1::2]], axis=1)


def to_counts(runs: Runs, size: int) -> Counts:
    """Return the lengths of a mask's runs and of the background between them."""
    ends = np.append(np.stack([runs[:, 0], runs.sum(axis=1)], axis=1).ravel(), size)
    counts = np.diff(ends, prepend=0)
    return counts if counts[-1] else counts[:-1]


def decompress(letters: str) -> Counts:
    """Read lengths from letters.

    Raises:
        ValueError: There is another letter, or the last number has no end.
    """
    codes = np.frombuffer(letters.encode("ascii"), np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not last[-1]:
        raise ValueError("not compressed counts")
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    groups = np.diff(starts, append=len(codes))
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, groups))
    if shifts.max() > 55:
        raise ValueError("a number of more than 60 bits")
    counts = np.add.reduceat((codes & 31) << shifts, starts)
    counts -= np.where(codes[last] & 16, np.int64(1) << 5 * groups, 0)
    counts[1::2], counts[2::2] = counts[1::2].cumsum(), counts[2::2].cumsum()
    return counts


def compress(counts: Counts) -> str:
    """Write lengths as letters."""
    added = counts.copy()
    added[3:] -= counts[1:-2]
    letters = bytearray()
    for number in added.tolist():
        while not -16 <= number < 16:
            letters.append(48 + 32 + (number & 31))
            number >>= 5  # noqa: PLW2901
        letters.append(48 + (number & 31))
    return letters.decode()
