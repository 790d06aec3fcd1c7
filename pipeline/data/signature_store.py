"""Image files are looked at, each decoded once: what is wrong with it, and what it shows.

Image files enter; sizes and defects leave, or `Signatures`. Signatures are kept in a folder of
parts, each written whole as soon as its images are done, so that an interrupted pass resumes and a
second one decodes nothing. An image is known by its size, its time stamp and its path from the
folder that holds them all.
"""

import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.config.reading import STRICT, Reading
from pipeline.data.decoding import UnusableImageError
from pipeline.data.images import read_luminance, shown, unreadable
from pipeline.data.landmarks import CODES, LANDMARKS, VIEWS, describe
from pipeline.data.signatures import (
    SHORTEST_PX,
    Layout,
    Signatures,
    jpeg_noise,
    luminance_table,
    sign,
)
from pipeline.errors import DataError, about
from pipeline.jobs.artifacts import write_atomic

LOG = logging.getLogger(__name__)
STORES = Path("data") / ".signatures"  # the store of each data folder, by its name
VERSION = 3  # of what a part holds; another one is computed again
PART_IMAGES = 1024  # lost at most when a pass is killed
ARRAYS = {
    "values": np.int8,
    "means": np.uint16,
    "noise": np.float32,
    "tables": np.uint32,
    "codes": np.uint8,
    "places": np.int16,
    "turns": np.uint8,
}
NOT_THERE = (-1, -1)

Key = tuple[str, int, int]
Row = tuple[npt.NDArray[Any] | int, ...]


class Seen(NamedTuple):
    """What was found in one image file.

    Attributes:
        height: Of the picture, px; 0 where the file cannot be used.
        width: The same.
        defect: Why it cannot be used; "" if it can.
        row: Its signature, a row of each of `ARRAYS`; None if it has none.
    """

    height: int
    width: int
    defect: str
    row: Row | None = None


def look_at(
    files: Sequence[Key],
    folder: str,
    layout: Layout | None,
    *,
    jobs: int,
    store: Path | None,
    task: str,
    reading: Reading = STRICT,
) -> Iterator[list[Seen]]:
    """Decode each image completely and once; yield `PART_IMAGES` at a time, in order.

    Args:
        files: What `keys_of` gave.
        folder: The same.
        layout: Of the images that get a signature, all that have its size; None: none does.
        jobs: Threads that decode.
        store: Folder of parts, made if missing, which has the signatures before they are yielded;
            None keeps nothing.
        task: What the progress bar calls it.
        reading: How pictures are read; a store is of one way.

    Raises:
        DataError: The system does not give a file that is there.
        ArtifactError: The disk is full.
    """
    paths = [Path(folder) / name for name, _, _ in files]
    look = partial(_look, layout=layout, reading=reading)
    # Threads: Pillow, OpenCV and numpy compute without the interpreter's lock, and a process takes
    # the time of a thousand images to start.
    bar = tqdm(total=len(files), desc=task, unit="image", disable=not files)
    with ThreadPoolExecutor(jobs) as pool, bar:
        for start in range(0, len(files), PART_IMAGES):
            part, looks = slice(start, start + PART_IMAGES), []
            for one in pool.map(look, paths[part]):
                looks.append(one)
                bar.update()
            rows = {key: one.row for key, one in zip(files[part], looks, strict=True) if one.row}
            if rows and layout is not None and store is not None:
                _write_part(store, layout, [*rows], [*rows.values()])
            yield looks


def keys_of(paths: Sequence[Path]) -> tuple[list[Key], str]:
    """Return what tells each file as it is now from what it was, and the folder that holds all.

    Returns:
        The path from that folder, bytes and time stamp of each, `NOT_THERE` for the latter two if
        there is no such file; and the folder.

    Raises:
        DataError: The system does not tell.
    """
    folder = os.path.commonpath([path.parent for path in paths])
    return [(str(path.relative_to(folder)), *_stamp(path)) for path in paths], folder


def first_layout(paths: Sequence[Path], reading: Reading = STRICT) -> Layout | None:
    """Return the layout of images as large as the first that can be used; None if none can."""
    for path in paths:
        height, width, *_ = _look(path, None, reading=reading)
        if min(height, width) >= SHORTEST_PX:
            return Layout(height, width)
    return None


def read_signatures(
    paths: Sequence[Path], *, jobs: int, store: Path | None, reading: Reading = STRICT
) -> Signatures:
    """Give the signatures of image files, computing those that the store does not hold.

    Args:
        paths: Images, all of one size; at least one.
        jobs: Threads that decode.
        store: Folder of parts, made if missing; None keeps nothing.
        reading: How pictures are read; a store is of one way.

    Returns:
        Signatures in the order of `paths`.

    Raises:
        DataError: An image is missing, cannot be decoded, or has another size than the first.
        ArtifactError: The disk is full.
    """
    if not paths:
        raise DataError("no images to compare. Check that the data folder holds training images.")
    layout = first_layout(paths, reading)
    if layout is None:
        raise DataError(
            f"{shown(paths[0])}: expected a picture of {SHORTEST_PX}x{SHORTEST_PX} px or more, got "
            f"none among {len(paths)} files. Run s0_data again: it names those it cannot use."
        )
    keys, folder = keys_of(paths)
    table = _empty(layout, len(paths))
    missing = _fill_known(table, keys, store)
    if missing:
        LOG.info("describing %d of %d images", len(missing), len(paths))
    files = [keys[index] for index in missing]
    looks = look_at(files, folder, layout, jobs=jobs, store=store, task="overlaps", reading=reading)
    for index, look in zip(missing, chain.from_iterable(looks), strict=True):
        if look.row is None:
            size = f"{layout.height}x{layout.width} px like the first image"
            defect = look.defect or f"expected {size}, got {look.height}x{look.width}"
            raise DataError(
                f"{shown(paths[index])}: {defect}. Run s0_data again: it names such files and "
                "leaves them out."
            )
        for name, value in zip(ARRAYS, look.row, strict=True):
            getattr(table, name)[index] = value
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
        np.empty((count, LANDMARKS, VIEWS, CODES), np.uint8),
        np.empty((count, LANDMARKS, 2), np.int16),
        np.empty((count, LANDMARKS, VIEWS), np.uint8),
    )


def _stamp(path: Path) -> tuple[int, int]:
    with about(shown(path)):
        try:
            status = path.stat()
        except OSError as error:
            wrong = unreadable(error)
            if isinstance(wrong, UnusableImageError):
                return NOT_THERE
            raise wrong from error
    return status.st_size, status.st_mtime_ns


def _look(path: Path, layout: Layout | None, *, reading: Reading) -> Seen:
    with about(shown(path)):
        try:
            gray_hw, content = read_luminance(path, reading)
        except UnusableImageError as error:
            return Seen(0, 0, str(error))
    height, width = gray_hw.shape
    if layout is None or (height, width) != (layout.height, layout.width):
        return Seen(height, width, "")
    values, means = sign(gray_hw, layout)
    rounding = luminance_table(content)
    noise = jpeg_noise(rounding, gray_hw, layout)
    mark = zlib.crc32(rounding.tobytes())
    return Seen(height, width, "", (values, means, noise, mark, *describe(gray_hw)))


def _write_part(store: Path, layout: Layout, keys: Sequence[Key], rows: Sequence[Row]) -> None:
    names, sizes, stamps = zip(*keys, strict=True)
    columns = zip(ARRAYS.items(), zip(*rows, strict=True), strict=True)
    arrays: dict[str, Any] = {name: np.array(values, kind) for (name, kind), values in columns}
    digest = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    write_atomic(
        store / f"part-{digest}.npz",
        lambda file: np.savez(
            file,
            format=np.array([VERSION, layout.height, layout.width]),
            names=np.array(names),
            sizes=np.array(sizes, dtype=np.int64),
            stamps=np.array(stamps, dtype=np.int64),
            **arrays,
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
