"""The signatures of many image files, computed once.

Image files enter; `Signatures` leave. They are kept in a folder of parts, each written whole as
soon as its images are done, so that an interrupted pass resumes and a second one decodes nothing.
An image is known by its size, its time stamp and its path from the folder that holds them all.
"""

import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.compute.processes import worker_pool
from pipeline.data.images import (
    Picture,
    UnusableImageError,
    read_luminance,
    shown,
    unreadable,
)
from pipeline.data.signatures import Layout, Signatures, jpeg_noise, luminance_table, sign
from pipeline.errors import DataError, about
from pipeline.jobs.artifacts import write_atomic

LOG = logging.getLogger(__name__)
VERSION = 2  # of what a part holds; another one is computed again
PART_IMAGES = 1024  # lost at most when a pass is killed
TASK_IMAGES = 16
ARRAYS = ("values", "means", "noise", "tables")

Key = tuple[str, int, int]
Row = tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16], npt.NDArray[np.float32], int]


def read_signatures(paths: Sequence[Path], *, jobs: int, store: Path | None) -> Signatures:
    """Give the signatures of image files, computing those that the store does not hold.

    Args:
        paths: Images, all of one size; at least one.
        jobs: Processes that decode.
        store: Folder of parts, made if missing; None keeps nothing.

    Returns:
        Signatures in the order of `paths`.

    Raises:
        DataError: An image is missing, cannot be decoded, or has another size than the first.
        ArtifactError: The disk is full.
    """
    if not paths:
        raise DataError("no images to compare. Check that the data folder holds training images.")
    layout = Layout(*_luminance(paths[0])[0].shape)
    folder = os.path.commonpath([path.parent for path in paths])
    keys = [_key(path, folder) for path in paths]
    table = _empty(layout, len(paths))
    missing = _fill_known(table, keys, store)
    if missing:
        LOG.info("describing %d of %d images", len(missing), len(paths))
    rows = _described([paths[index] for index in missing], layout, jobs)
    for start in range(0, len(missing), PART_IMAGES):
        part = np.array(missing[start : start + PART_IMAGES])
        for index, row in zip(part, islice(rows, len(part)), strict=True):
            for name, value in zip(ARRAYS, row, strict=True):
                getattr(table, name)[index] = value
        if store is not None:
            _write_part(store, table, part, [keys[index] for index in part])
    return table


def _empty(layout: Layout, count: int) -> Signatures:
    high, wide = layout.patches_hw
    cells = len(layout.origins_yx)
    return Signatures(
        layout,
        np.empty((count, cells, high * wide * layout.masks), np.int8),
        np.empty((count, cells, 4), np.uint16),
        np.empty((count, cells), np.float32),
        np.empty(count, np.uint32),
    )


def _key(path: Path, folder: str) -> Key:
    with _usable(path):
        try:
            status = path.stat()
        except OSError as error:
            raise unreadable(error) from error
    return str(path.relative_to(folder)), status.st_size, status.st_mtime_ns


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    with about(shown(path)):
        try:
            yield
        except UnusableImageError as error:
            raise DataError(
                f"{error}. Run s0_data again: it names such files and leaves them out."
            ) from error


def _luminance(path: Path) -> tuple[Picture, bytes]:
    with _usable(path):
        return read_luminance(path)


def _describe(path: Path, layout: Layout) -> Row:
    gray_hw, content = _luminance(path)
    if gray_hw.shape != (layout.height, layout.width):
        raise DataError(
            f"{path}: expected {layout.height}x{layout.width} px like the first image, got "
            f"{gray_hw.shape[0]}x{gray_hw.shape[1]}. Run s0_data again: it leaves such files out."
        )
    values, means = sign(gray_hw, layout)
    rounding = luminance_table(content)
    return values, means, jpeg_noise(rounding, gray_hw, layout), zlib.crc32(rounding.tobytes())


def _described(paths: Sequence[Path], layout: Layout, jobs: int) -> Iterator[Row]:
    """Yield one row per path, in order; in this process if one is enough."""
    describe = partial(_describe, layout=layout)
    progress = tqdm(total=len(paths), desc="overlaps", unit="image", disable=not paths)
    with progress:
        if jobs == 1 or len(paths) <= TASK_IMAGES:
            with threadpool_limits(1, user_api="blas"):
                for path in paths:
                    row = describe(path)
                    progress.update()  # before the caller takes the last one and does not return
                    yield row
            return
        with worker_pool(jobs, _keep_to_one_core) as pool:
            for start in range(0, len(paths), PART_IMAGES):
                part = paths[start : start + PART_IMAGES]
                for row in pool.map(describe, part, chunksize=TASK_IMAGES):
                    progress.update()
                    yield row


def _keep_to_one_core() -> None:
    """Let no library start threads: one image's matrices are small, and each core has a process."""
    cv2.setNumThreads(1)
    threadpool_limits(1, user_api="blas")


def _write_part(
    store: Path, table: Signatures, rows: npt.NDArray[np.intp], keys: Sequence[Key]
) -> None:
    names, sizes, stamps = zip(*keys, strict=True)
    digest = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    write_atomic(
        store / f"part-{digest}.npz",
        lambda file: np.savez(
            file,
            format=np.array([VERSION, table.layout.height, table.layout.width]),
            names=np.array(names),
            sizes=np.array(sizes, dtype=np.int64),
            stamps=np.array(stamps, dtype=np.int64),
            **{name: getattr(table, name)[rows] for name in ARRAYS},
        ),
    )


def _fill_known(table: Signatures, keys: Sequence[Key], store: Path | None) -> list[int]:
    """Copy the rows that the store holds; return the indices of the others.

    A part none of whose rows is current any more, or that is damaged, is deleted.
    """
    wanted = {key: index for index, key in enumerate(keys)}
    for path in sorted(store.glob("part-*.npz")) if store is not None else []:
        if not _fill_from(path, table, wanted):
            path.unlink(missing_ok=True)
    return sorted(wanted.values())


def _fill_from(path: Path, table: Signatures, wanted: dict[Key, int]) -> bool:
    """Tell whether the part is of use; take its rows out of `wanted` once they are copied."""
    try:
        with np.load(path, allow_pickle=False) as part:
            known = part["format"].tolist() == [VERSION, table.layout.height, table.layout.width]
            stamps = zip(part["names"], part["sizes"], part["stamps"], strict=True)
            found = [(str(name), int(size), int(stamp)) for name, size, stamp in stamps]
            rows = [row for row, key in enumerate(found) if known and key in wanted]
            target = [wanted[found[row]] for row in rows]
            for name in ARRAYS if rows else ():
                getattr(table, name)[target] = part[name][rows]
    # NumPy and zipfile raise anything in a damaged file, and all of it is made again.
    except Exception as error:
        LOG.warning("%s: cannot be read, described again: %s", path, error)
        return False
    for row in rows:
        wanted.pop(found[row], None)
    if not rows:
        LOG.info("%s describes other images: deleted", path)
    return bool(rows)
