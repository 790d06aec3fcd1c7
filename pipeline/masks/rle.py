"""Masks to and from the competition's run-length text.

The text is pairs "start length", 1-indexed, counted down the columns from left to right, sorted,
no pixel twice. Inside the pipeline a mask is its *runs*: int64 array (n, 2) of [start0, length]
with 0-indexed starts in the same column-major order, so that areas, overlaps and intersections
need no frame at all. A mask without pixels has no runs and is written "".

Source: the competition's evaluation page (rules of the RLE).
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

Runs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Lengths = int | npt.NDArray[np.int64]
Within = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]

# Runs that are shorter on average are drawn pixel by pixel, all at once; longer ones one by one.
LONG_RUN_PX = 64
NUMBER = re.compile(r"[+-]?[0-9]{1,999}")
LEGAL_CHARACTERS = b"0123456789 "


def parse_runs(encoded: str, height: int, width: int) -> Runs:
    """Read one mask's text and check every rule of the format.

    Args:
        encoded: "start length" pairs; "" is the mask without pixels.
        height: Image height in px.
        width: Image width in px.

    Returns:
        Runs, int64 (n, 2) of [start0, length], as written: runs that touch stay separate.

    Raises:
        DataError: with the first broken rule: not a number, odd count, zero, negative, beyond the
            image, unsorted or overlapping.
    """
    numbers = _numbers(encoded)
    if numbers is None or not _legal(numbers, height * width):
        raise DataError(_broken_rule(encoded, height, width))
    return _zero_indexed(numbers)


def parse_rows(
    encoded: Sequence[str], height: Lengths, width: Lengths
) -> tuple[Runs, npt.NDArray[np.int64]]:
    """Read the texts of many masks at once, about ten times faster than one by one.

    Args:
        encoded: One text per mask.
        height: Image height in px, of all or of each mask.
        width: Image width in px, likewise.

    Returns:
        All runs one after the other, int64 (n, 2), and for each run the index of its mask, int64
        (n,), ascending.

    Raises:
        DataError: as `parse_runs`, with the mask's index before it.
    """
    counts = np.fromiter((text.count(" ") + 1 if text else 0 for text in encoded), np.int64)
    numbers = _numbers(" ".join(filter(None, encoded)))
    if numbers is not None and len(numbers) == counts.sum() and not (counts % 2).any():
        owners = np.repeat(np.arange(len(counts)), counts // 2)
        sizes = np.broadcast_to(np.multiply(height, width), len(counts))
        if _legal(numbers, sizes[owners], same_mask=owners[1:] == owners[:-1]):
            return _zero_indexed(numbers), owners
    parts = []
    of_each = (np.broadcast_to(each, len(counts)).tolist() for each in (height, width))
    for index, (text, *size) in enumerate(zip(encoded, *of_each, strict=True)):
        try:
            parts.append(parse_runs(text, *size))
        except DataError as error:
            raise DataError(f"mask {index}: {error}") from None
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate([np.empty((0, 2), np.int64), *parts]), owners


def _numbers(encoded: str) -> Runs | None:
    """Return the numbers of a text of digits and spaces, None where it holds anything else."""
    # Compiled reading of digits: 5 times faster than int() per number. It reads a text of spaces
    # alone as a zero, which no rule allows either.
    if encoded.encode("utf-8", "replace").translate(None, LEGAL_CHARACTERS):
        return None
    return np.fromstring(encoded, np.int64, sep=" ")


def _legal(
    numbers: Runs,
    size: int | npt.NDArray[np.int64],
    same_mask: npt.NDArray[np.bool_] | bool = True,
) -> bool:
    if len(numbers) % 2:
        return False
    starts, lengths = numbers[::2], numbers[1::2]
    if not len(numbers):
        return True
    # No sum of both: a number of 30 digits would overflow it.
    if numbers.min() < 1 or (starts > size).any() or (lengths > size - starts + 1).any():
        return False
    return not ((starts[1:] < starts[:-1] + lengths[:-1]) & same_mask).any()


def _zero_indexed(numbers: Runs) -> Runs:
    runs: Runs = numbers.reshape(-1, 2) - np.array([1, 0])
    return runs


def _broken_rule(encoded: str, height: int, width: int) -> str:
    """Say which rule a text breaks first; slow and exact, for texts that are known to be bad."""
    tokens = encoded.split()
    for token in tokens:
        if not NUMBER.fullmatch(token):
            return f"RLE: {token[:40]!r} is not a number; expected pairs of 'start length'"
    if not tokens:
        return "RLE: only blanks; expected pairs of 'start length', or nothing at all for no object"
    if len(tokens) % 2:
        return f"RLE: an odd count of {len(tokens)} numbers; expected pairs of 'start length'"
    pairs = list(zip(map(int, tokens[::2]), map(int, tokens[1::2]), strict=True))
    for index, pair in enumerate(pairs):
        rule = _broken_pair(pair, pairs[index - 1] if index else None, height, width)
        if rule:
            return f"RLE: pair '{pair[0]} {pair[1]}' {rule}"
    return "RLE: the numbers are separated by something other than spaces"


def _broken_pair(
    pair: tuple[int, int], before: tuple[int, int] | None, height: int, width: int
) -> str:
    start, length = pair
    for name, value in (("start", start), ("length", length)):
        if value < 1:
            return f"has a {'zero' if value == 0 else 'negative'} {name}; both count from 1"
    if start + length - 1 > height * width:
        return f"ends beyond the image of {height}x{width} = {height * width} pixels"
    if before and start < sum(before):
        rule = "is unsorted, it starts before" if start < before[0] else "overlaps"
        return f"{rule} the pair '{before[0]} {before[1]}' that it follows"
    return ""


def encode_runs(runs: Runs) -> str:
    """Write runs as text; runs that touch stay separate, none give ""."""
    # One formatting call for all numbers: 5 times faster than str() per number.
    numbers = (runs + np.array([1, 0])).ravel().tolist()
    return ("%d " * len(numbers) % tuple(numbers))[:-1]


def encode_mask(mask_hw: Mask) -> str:
    """Write a mask, uint8 (h, w), 0 for background and 1 for object; "" where all is background.

    Raises:
        ValueError: The mask holds another value.
    """
    values, runs = label_runs(mask_hw)
    if len(values) and (values[0], values[-1]) != (1, 1):
        raise ValueError(f"mask_hw must hold 0 and 1 alone, got values up to {values[-1]}")
    return encode_runs(runs)


def encode_labels(labels_hw: Labels, within: Within | None = None) -> list[str]:
    """Write a label map, int32 (h, w), 0 for background: one text per label 1..n, [] for none.

    Args:
        labels_hw: The labels.
        within: As in `label_runs`.

    Raises:
        ValueError: A label is negative, or one between 1 and the largest has no pixel.
    """
    labels, runs = label_runs(labels_hw, within)
    if not len(labels):
        return []
    counts = np.bincount(labels)[1:] if labels[0] > 0 else np.zeros(1, np.int64)
    if not counts.all():
        raise ValueError("labels_hw must hold 0 for background and each of 1..n for an object")
    ends = [0, *np.cumsum(counts).tolist()]
    return [encode_runs(runs[start:end]) for start, end in pairwise(ends)]


def label_runs(
    values_hw: Mask | Labels, within: Within | None = None
) -> tuple[npt.NDArray[np.int64], Runs]:
    """Find the runs of equal values other than 0, of all values in one pass.

    Args:
        values_hw: uint8 or int32 (h, w).
        within: If these are some rows and columns of an image: the places of both, ascending, and
            the image's height, px. Of rows that lie apart one at least has no value other than 0.

    Returns:
        The value of each run, int64 (n,), ascending, and the runs, int64 (n, 2), within a value
        in the image's order. Runs go on from the foot of a column to the head of the next.
    """
    height, width = values_hw.shape
    # Few columns hold an object. Each of them gets a pixel of background above, where a run cannot
    # go on.
    taken = np.flatnonzero(values_hw.any(axis=0))
    if not len(taken):
        return np.empty(0, np.int64), np.empty((0, 2), np.int64)
    rows, columns, image_height = within or (np.arange(height), np.arange(width), height)
    span_hw = values_hw[:, taken[0] : taken[-1] + 1]
    span_wh = span_hw.T if span_hw.flags.f_contiguous else cv2.transpose(span_hw)
    padded = np.zeros((len(taken) + 1, height + 1), values_hw.dtype)
    padded[:-1, 1:] = span_wh[taken - taken[0]]
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # edge i lies between flat[i] and flat[i + 1]
    values = flat[edges + 1].astype(np.int64)
    opens = np.flatnonzero(values)
    closes = np.minimum(opens + 1, len(edges) - 1)
    values, starts, ends = values[opens], edges[opens], edges[closes]
    column, row = np.divmod(starts, height + 1)
    places = columns[taken[column]] * image_height + rows[row]
    runs = np.stack([places, ends - starts], axis=1)
    order = np.argsort(values, kind="stable")
    values, runs = values[order], runs[order]
    continued = (runs[1:, 0] == runs[:-1].sum(axis=1)) & (values[1:] == values[:-1])
    if not continued.any():
        return values, runs
    first = np.flatnonzero(~np.concatenate([[False], continued]))
    return values[first], np.stack([runs[first, 0], np.add.reduceat(runs[:, 1], first)], axis=1)


def decode_mask(encoded: str, height: int, width: int) -> Mask:
    """Draw one mask, uint8 (h, w) of 0 and 1; "" gives all background.

    Raises:
        DataError: as `parse_runs`.
    """
    columns_wh = np.zeros((width, height), np.uint8)
    fill(columns_wh.ravel(), parse_runs(encoded, height, width), None)
    return columns_wh.T


def decode_labels(encoded: Sequence[str], height: int, width: int) -> Labels:
    """Draw the masks of one image, int32 (h, w): 0 for background, 1..n in the order given.

    Raises:
        DataError: as `parse_runs`, or two of the masks share a pixel; masks are named by their
            label.
    """
    columns_wh = np.zeros((width, height), np.int32)
    runs, owners = parse_rows(encoded, height, width)
    overlaps = find_overlaps(runs[:, 0], runs[:, 1], owners)
    if len(overlaps):
        first, second = sorted((overlaps[0] + 1).tolist())
        raise DataError(f"masks {first} and {second} of {len(encoded)} share pixels")
    fill(columns_wh.ravel(), runs, owners + 1)
    return columns_wh.T


def fill(
    flat: npt.NDArray[np.integer[Any]], runs: Runs, values: npt.NDArray[np.int64] | None
) -> None:
    """Set the pixels of each run to its value, or to 1; where runs share some, the later counts."""
    lengths = runs[:, 1]
    total = int(lengths.sum())
    if total < LONG_RUN_PX * len(runs):
        offsets = runs[:, 0] - np.cumsum(lengths) + lengths
        pixels = np.repeat(offsets, lengths) + np.arange(total)
        flat[pixels] = 1 if values is None else np.repeat(values, lengths)
        return
    every = np.ones(len(runs), np.int64) if values is None else values
    for (start, length), value in zip(runs.tolist(), every.tolist(), strict=True):
        flat[start : start + length] = value


def find_overlaps(
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Find masks that share pixels, by sorting their runs.

    Args:
        starts: First pixel of each run, int64 (n,), on one axis for all.
        lengths: Its length in px, int64 (n,).
        owners: Index of the mask it belongs to, int64 (n,); runs of one mask never overlap.

    Returns:
        int64 (m, 2): pairs of masks that overlap, each once, none if no pixel is shared. A mask
        that several others overlap is in at least one pair.
    """
    order = np.argsort(starts, kind="stable")
    starts, ends, owners = starts[order], (starts + lengths)[order], owners[order]
    shared = starts[1:] < ends[:-1]
    pairs = np.stack([owners[:-1][shared], owners[1:][shared]], axis=1)
    return np.unique(pairs, axis=0)
