"""What every rendered data folder has in common: it appears whole, and its names tell nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DataError
from pipeline.seeds import generator, stream_seed


@contextmanager
def appearing(root: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `root` when it is whole and not before.

    Raises:
        DataError: `root` exists already.
    """
    if root.exists():
        raise DataError(f"{root}: exists. Expected a free name: give another, or delete it first.")
    temporary = root.with_name(f".{root.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.sync()
        temporary.replace(root)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def image_ids(seed: int, part: str, count: int, ending: str) -> Iterator[str]:
    """Names that say nothing of the image, and are no other image's.

    Args:
        seed: Of the folder.
        part: `train` or `test`.
        count: How many.
        ending: Of each.
    """
    for number in generator(seed, part, "names").permutation(count).tolist():
        mark = stream_seed(seed, part, "name", number) % 16**4
        yield f"{mark:04x}{2 * number + (part == 'test'):05x}{ending}"
