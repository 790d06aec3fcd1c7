"""Maps are looked at in several processes, a few dozen at a time, and come out in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

from pipeline.compute.processes import worker_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32
MAPS_PER_WORKER = 2000  # a process costs seconds to start


def worker_count(maps: int) -> int:
    """Return how many processes so many maps are worth, at most one for each core."""
    return min(len(os.sched_getaffinity(0)), 1 + maps // MAPS_PER_WORKER)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut an iterable into lists of `size` items, the last one shorter."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def in_order(
    function: Callable[[list[Item]], Result], items: Iterable[Item], jobs: int, chunk: int = CHUNK
) -> Iterator[Result]:
    """Apply `function` to lists of `chunk` items each in `jobs` processes, in order.

    At most 2 `jobs` lists wait at a time, so the maps of a whole competition never lie in memory.
    With one job all happens in this process.
    """
    if jobs == 1:
        yield from map(function, _chunks(items, chunk))
        return
    waiting: deque[Future[Result]] = deque()
    with worker_pool(jobs) as pool:
        for part in _chunks(items, chunk):
            waiting.append(pool.submit(function, part))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
