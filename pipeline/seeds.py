"""One seed, many independent random streams.

Every random choice draws from a stream named by what it is for (fold, epoch, index, purpose), so
the number of workers, the order of calls and a resumed run cannot change it.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """Derive the 63-bit seed of the stream `names` from the run's `seed`."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return numpy's generator for the stream `names`."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *names)))
