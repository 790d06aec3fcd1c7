"""`SMALL=1 python -m tests.bench.NAME` shows that a benchmark starts; its numbers mean nothing."""

import os
import sys


def sized(full, small):
    """Return the size of a benchmark: its own, or the smallest there is."""
    return small if os.environ.get("SMALL") == "1" else full


def do_named(*works):
    """Do the works that the command line names, all of them if it names none."""
    known = {work.__name__: work for work in works}
    for name in sys.argv[1:] or known:
        known[name]()
