"""Waiting for what another process does."""

import time


def wait_until(condition, *, within_s):
    """Return once `condition()` holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
