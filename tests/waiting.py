"""Waiting for what another process does."""

import time
from pathlib import Path


def wait_until(condition, *, within_s):
    """Return once `condition()` holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid):
    """Tell whether a process lives; one that nobody has waited for yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
