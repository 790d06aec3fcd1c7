"""What the competition's archive looks like."""

import io
import zipfile
from functools import cache

import numpy as np

LAYOUT = ("train_v2/", "test_v2/", "truth.csv", "sample.csv")


@cache
def make_archive(
    names: tuple[str, ...] = LAYOUT, bytes_each: int = 300_000, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip in the competition's layout whose content does not compress, as images do not."""
    noise = np.random.default_rng(0)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            for number in range(3 if name.endswith("/") else 1):
                member = f"{name}{number}.jpg" if name.endswith("/") else name
                archive.writestr(member, noise.bytes(bytes_each))
    return file.getvalue()
