"""Processes that belong to another one: they leave signals to it, and are gone when it is gone."""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, the process of that number, is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def ignore_signals(_worker: int = 0) -> None:
    """Leave Ctrl-C and SIGTERM to the parent, which saves first and then ends its processes."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def worker_pool(
    jobs: int, prepare: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Start `jobs` fresh processes that take work, and end them, also in the middle of it.

    Fresh: a fork of a process whose OpenCV or BLAS has started threads waits for them forever.

    Args:
        jobs: How many.
        prepare: Called first in each, if given.
    """
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (os.getpid(), prepare))
    # What is ignored when a process starts, it ignores from its first moment.
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        for _ in range(jobs):
            pool.submit(os.getpid)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int, prepare: Callable[[], None] | None) -> None:
    end_with(parent)
    if prepare is not None:
        prepare()
