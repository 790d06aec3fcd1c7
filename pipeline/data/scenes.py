"""Which images show the same place, in a folder whose images may differ in size."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.reading import STRICT, Reading
from pipeline.data.any_offset import COVERED
from pipeline.data.overlaps import Index, find_groups
from pipeline.data.signatures import SHORTEST_PX
from pipeline.masks.sizes import Size, Sizes

LOG = logging.getLogger(__name__)


def find_groups_by_size(
    image_paths: Sequence[Path],
    ids: Sequence[str],
    sizes: Sizes,
    *,
    jobs: int,
    signatures_path: Path | None,
    reading: Reading = STRICT,
) -> Index:
    """Group as `find_groups` does the images of each size; those of two sizes are never linked.

    Images of a size that no other has, or too small to be described, are alone in their groups.
    """
    LOG.info("overlaps: %d images %s", len(ids), COVERED)
    find = partial(find_groups, jobs=jobs, reading=reading)
    if sizes.common is not None:
        return find(image_paths, ids, signatures_path=signatures_path)
    order = sorted(range(len(ids)), key=lambda index: ids[index])
    by_size: dict[Size, list[int]] = {}
    for index in order:
        by_size.setdefault(sizes[ids[index]], []).append(index)
    first = np.arange(len(ids))  # image of each one's group, in the order of the ids
    for size, same in by_size.items():
        if len(same) == 1 or min(size) < SHORTEST_PX:
            continue
        groups = find(
            [image_paths[index] for index in same],
            [ids[index] for index in same],
            signatures_path=signatures_path and signatures_path / "{}x{}".format(*size),
        )
        first[same] = np.array(same)[np.unique(groups, return_index=True)[1]][groups]
    numbers = np.empty(len(ids), np.int64)
    numbers[order] = pd.factorize(first[order])[0]
    return numbers
