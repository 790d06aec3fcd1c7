"""What every rule needs to know about a map, measured once.

A map and its true ships enter; for every separation the area of each component and
its hits (at how many IoU thresholds it finds a ship) leave. A component's hits do not depend on
what else is kept, so minimum areas and gates are sums over this table and no map is looked at
again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.ships.metric import hits_from_areas
from pipeline.ships.rle import Labels, decode_labels, parse_rows
from pipeline.ships.separate import ImageMaps, Separation, find_components

__all__ = [
    "Found",
    "Part",
    "chunks",
    "in_order",
    "measure_chunk",
    "part_of",
]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """All components of some images, cut in one way.

    Attributes:
        image: Index of the image, int32 (n,).
        area_px: int32 (n,).
        hits: IoU thresholds at which the component finds a true ship, 0..10, int8 (n,).
    """

    image: npt.NDArray[np.int32]
    area_px: npt.NDArray[np.int32]
    hits: npt.NDArray[np.int8]

    @classmethod
    def joined(cls, parts: Iterable["Found"]) -> "Found":
        """Put the components of several groups of images one after the other."""
        nothing = cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8))
        parts = [nothing, *parts]
        return cls(
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.area_px for part in parts]),
            np.concatenate([part.hits for part in parts]),
        )


@dataclass(frozen=True)
class Part:
    """The rows and columns of a map that any rule may call ship, and the image's true ships.

    Stretches of rows or columns without such a pixel are cut to one, which keeps apart what is
    apart. Areas and neighbours stay as they are, and a typical map becomes a tenth of its size.
    """

    image: int
    maps: ImageMaps
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    shape: tuple[int, int]
    truth: list[str]


def part_of(image: int, maps: ImageMaps, truth: list[str], lowest: int) -> Part | None:
    """Cut out the part of a map that reaches the `lowest` threshold, None where nothing does."""
    prob_hw, contact_hw = maps.prob_hw, maps.contact_hw
    if int(prob_hw.max()) < lowest:
        return None
    rows = _kept(prob_hw.max(axis=1) >= lowest)
    columns = _kept(prob_hw.max(axis=0) >= lowest)
    part = ImageMaps(
        prob_hw[rows].take(columns, axis=1),
        None if contact_hw is None else contact_hw[rows].take(columns, axis=1),
    )
    return Part(image, part, rows, columns, (prob_hw.shape[0], prob_hw.shape[1]), truth)


def _kept(used: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the places of the used lines and of the first unused one after each of their runs."""
    kept = used.copy()
    kept[1:] |= used[:-1]
    return np.flatnonzero(kept)


def measure_chunk(parts: list[Part], separations: list[Separation]) -> dict[Separation, Found]:
    """Measure some maps, cut in each of the ways."""
    # Workers share the cores already.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    found: dict[Separation, list[Found]] = {how: [] for how in separations}
    for part in parts:
        runs, owners = parse_rows(part.truth, *part.shape)
        true_area_px = np.bincount(owners, runs[:, 1], len(part.truth)).astype(np.int64)
        true_hw = decode_labels(part.truth, *part.shape)[np.ix_(part.rows, part.columns)]
        for how in separations:
            found[how].append(_measure(part, true_hw, true_area_px, how))
    cv2.setNumThreads(threads)
    return {how: Found.joined(each) for how, each in found.items()}


def _measure(
    part: Part, true_hw: Labels, true_area_px: npt.NDArray[np.int64], how: Separation
) -> Found:
    components = find_components(part.maps, how)
    area_px = components.area_px
    hits = np.zeros(len(area_px), np.int8)
    if len(area_px) and len(true_area_px):
        true_labels = true_hw.ravel()[components.pixels]
        pairs = components.labels * (len(true_area_px) + 1) + true_labels
        size = (len(area_px) + 1) * (len(true_area_px) + 1)
        shared = np.bincount(pairs, minlength=size).reshape(len(area_px) + 1, -1)[1:, 1:]
        union = area_px[:, None] + true_area_px - shared
        # Above an IoU of 0.5 there is one partner at most, so the largest is the sum.
        hits = hits_from_areas(shared, union).max(axis=1).astype(np.int8)
    image = np.full(len(area_px), part.image, np.int32)
    return Found(image, area_px.astype(np.int32), hits)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut an iterable into lists of `size` items, the last one shorter."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Iterator[Result]:
    """Apply `function` to each item in `jobs` processes, in order.

    At most 2 `jobs` items wait at a time, so the maps of a whole competition never lie in memory.
    With one job all happens in this process.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
