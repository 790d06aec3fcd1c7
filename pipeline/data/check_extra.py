"""The folders of `data.extra`, checked as the data's own images are.

Folders enter; the rows to train on leave, beside quarantine rows for each image left out. An image
that shows a place of the data's own images is left out, too: what is learned of it would be known
where that place is validated. The search is that of the split, so it compares images of one size:
copies in another size are not found.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competitions import Competition, own_masks
from pipeline.config.data import name_of
from pipeline.config.reading import STRICT, Reading
from pipeline.config.schema import Config
from pipeline.data.any_offset import find_pairs
from pipeline.data.catalog import Catalog
from pipeline.data.check import QUARANTINE, check_images
from pipeline.data.extra import ANY_FOLD, SIZE_COLUMNS, tables_of
from pipeline.data.overlaps import link_tiles, linked_pairs
from pipeline.data.signature_store import ARRAYS, STORES, read_signatures
from pipeline.data.signatures import SHORTEST_PX, Signatures
from pipeline.errors import DataError
from pipeline.masks.sizes import Size

LOG = logging.getLogger(__name__)


def check_extra(
    config: Config, catalog: Catalog, *, jobs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Check the folders of `data.extra`, one at least.

    Args:
        config: For the folders.
        catalog: The data's own images.
        jobs: Threads that decode.

    Returns:
        What EXTRA holds, and the quarantine table.

    Raises:
        DataError: A table cannot be read, too many images of a folder cannot be used, or none.
    """
    folders = config.data.extra_folders.items()
    checked = [_check_one(name, folder, config, catalog, jobs) for name, folder in folders]
    rows, left_out = (pd.concat(each, ignore_index=True) for each in zip(*checked, strict=True))
    return rows, left_out


def _check_one(
    name: str, folder: Path, config: Config, catalog: Catalog, jobs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    own = own_masks(config.task)
    tables, left_out = [], []
    sizes: dict[str, Size] = {}
    for fold, table in tables_of(folder, config).items():
        instances, found, quarantine = check_images(
            folder,
            replace(own, truth=table),
            Path("data") / ".verified" / f"{_store(folder, own)}.csv",
            max_bad_share=config.data.max_bad_share,
            jobs=jobs,
            all_listed=fold == ANY_FOLD,
        )
        each = [found[image_id] for image_id in instances.ImageId]
        sizes |= dict(zip(instances.ImageId, each, strict=True))
        marks = pd.DataFrame([(fold, *size) for size in each], columns=SIZE_COLUMNS)
        tables.append(pd.concat([marks, instances], axis=1))
        left_out.append(quarantine)
    shown = _shown(folder / own.train_images, sizes, config, catalog, jobs)
    reason = "overlaps training image {}, in whose validation it would be known"
    overlapping = [
        (image_id, "extra", f"{own.train_images}/{image_id}", reason.format(other))
        for image_id, other in shown.items()
    ]
    rows = pd.concat(tables)
    rows = rows[~rows.ImageId.isin(shown.keys())].copy()
    if rows.empty:
        raise DataError(
            f"{folder} (data.extra): all {len(sizes)} images overlap training images, such as "
            f"{'{} {}'.format(*next(iter(shown.items())))}. Leave the folder out."
        )
    LOG.info(
        "data.extra: %s: %d images, %d left out that overlap training images",
        *(folder, rows.ImageId.nunique(), len(shown)),
    )
    quarantine = pd.concat([*left_out, pd.DataFrame(overlapping, columns=QUARANTINE)])
    quarantine = quarantine.drop_duplicates()
    for frame in (rows, quarantine):
        frame["ImageId"] = f"{name}/" + frame.ImageId
    return rows, quarantine


def _store(folder: Path, task: Competition) -> str:
    """Return the name of what is remembered of a folder's images, read as the task's."""
    return f"{name_of(folder)}{task.reading.mark}"


def find_shown(
    known: Signatures,
    others: Signatures,
    paths: Sequence[Path],
    *,
    jobs: int,
    reading: Reading = STRICT,
) -> dict[int, int]:
    """Find the tiles of `others` that overlap one of `known`, and the first that each does.

    Args:
        known: Of n tiles.
        others: Of m tiles of the same size.
        paths: The n + m files.
        jobs: Threads that compare.
        reading: How pictures are read.
    """
    count = len(known.values)
    pairs = ((getattr(known, name), getattr(others, name)) for name in ARRAYS)
    both = Signatures(known.layout, *map(np.concatenate, pairs))
    groups = link_tiles(both)
    # Only groups with tiles of both need be looked at pair by pair.
    alone = ~np.isin(groups, np.intersect1d(groups[:count], groups[count:]))
    groups[alone] = len(groups) + np.flatnonzero(alone)
    one, other, _ = linked_pairs(both, groups)
    tiles = np.stack([one, other], axis=1).tolist()
    of_two = (np.arange(len(paths)) >= count).astype(np.int64)
    tiles += (
        pair[:2] for pair in find_pairs(both, paths, of_two, jobs=jobs, reading=reading, every=True)
    )
    found: dict[int, int] = {}
    for tile, later in sorted(map(tuple, tiles)):
        if tile < count <= later:
            found.setdefault(later - count, tile)
    return found


def _shown(
    folder: Path, sizes: Mapping[str, Size], config: Config, catalog: Catalog, jobs: int
) -> dict[str, str]:
    """Return the images that overlap a training image, and one that they overlap."""
    shown: dict[str, str] = {}
    own = {image_id: catalog.sizes[image_id] for image_id in catalog.train_ids}
    for size in sorted({*sizes.values()} & {*own.values()}):
        if min(size) < SHORTEST_PX:
            continue
        part = "{}x{}".format(*size)
        known, new = ([name for name in each if each[name] == size] for each in (own, sizes))
        store = STORES / config.images_name / ("" if catalog.sizes.common else part)
        extra_store = STORES / _store(folder.parent, config.task) / part
        how: dict[str, Any] = {"jobs": jobs, "reading": config.task.reading}
        paths = [*map(catalog.train_path, known)], [folder / name for name in new]
        found = find_shown(
            read_signatures(paths[0], store=store, **how),
            read_signatures(paths[1], store=extra_store, **how),
            [*paths[0], *paths[1]],
            **how,
        )
        shown |= {new[tile]: known[place] for tile, place in found.items()}
    return shown
