"""`SMALL=1 python -m tests.bench.NAME` shows that a benchmark starts; its numbers mean nothing."""

import os


def sized(full, small):
    """Return the size of a benchmark: its own, or the smallest there is."""
    return small if os.environ.get("SMALL") == "1" else full
