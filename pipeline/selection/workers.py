"""Maps are looked at in several processes, a few dozen at a time, and come out in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Workers:
    """Processes to look at maps; `in_order` may use them time after time.

    Attributes:
        jobs: How many.
        pool: They; None if all happens in this process.
    """

    jobs: int
    pool: ProcessPoolExecutor | None

    def in_order(
        self,
        function: Callable[[list[Item]], Result],
        items: Iterable[Item],
        chunk: int | None = None,
    ) -> Iterator[Result]:
        """Apply `function` to lists of `chunk` items each, of `CHUNK` if not given, in order.

        At most 2 `jobs` lists wait at a time, so the maps of a whole competition never lie in
        memory.
        """
        if self.pool is None:
            yield from map(function, _chunks(items, chunk or CHUNK))
            return
        waiting: deque[Future[Result]] = deque()
        for part in _chunks(items, chunk or CHUNK):
            waiting.append(self.pool.submit(function, part))
            if len(waiting) > 2 * self.jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def workers(jobs: int) -> Iterator[Workers]:
    """Start `jobs` processes, none for one job, and end them."""
    if jobs == 1:
        yield Workers(1, None)
        return
    with worker_pool(jobs) as pool:
        yield Workers(jobs, pool)
