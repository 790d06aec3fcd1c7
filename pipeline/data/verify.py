"""Which image files can be used: every byte decoded once, the verdict remembered.

Image paths enter; one row per file leaves, with its size and, for a file that cannot be used, the
reason. Pillow reads to the last byte and raises on a truncated JPEG, where OpenCV returns a
full-size array. While an image is decoded its signature, which the split will ask for, may be
taken. A verdict is kept by file size and time stamp, so a second look costs a `stat`. An error of
the operating system is no verdict: it ends the check.
"""

import csv
import hashlib
import io
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from pipeline.config.reading import STRICT, Reading
from pipeline.data.images import MISSING
from pipeline.data.signature_store import NOT_THERE, first_layout, keys_of, look_at
from pipeline.jobs.artifacts import write_atomic

LOG = logging.getLogger(__name__)
REMEMBERED_AFTER = 16_384  # images, whole parts: an interruption costs at most about a minute
VERSION = 2  # of the rules that verdicts follow and of the file they are kept in
COLUMNS = ["file", "bytes", "mtime_ns", "height", "width", "defect"]

Verdicts = dict[tuple[str, int, int], tuple[int, int, str]]
"""Height, width and defect of a file by its path, bytes and time stamp."""


def verify_images(
    paths: Sequence[Path],
    memory: Path | None,
    *,
    jobs: int,
    signatures: Path | None = None,
    sizes_differ: bool = False,
    reading: Reading = STRICT,
) -> pd.DataFrame:
    """Decode each image completely, unless it was decoded before and has not changed.

    Args:
        paths: Image files; those that do not exist get the defect "missing".
        memory: File of earlier verdicts, updated on the way; deleting it costs only time. None
            remembers nothing.
        jobs: Threads that decode.
        signatures: Store that gets the signatures of the images which are decoded, of those as
            large as the first; None: of none.
        sizes_differ: Whether they may; else an image whose size differs from that of most has a
            defect.
        reading: How pictures are read; a memory and a store are of one way.

    Returns:
        COLUMNS, one row per path in the same order; `defect` is "" for a usable image.

    Raises:
        DataError: The system does not give a file that is there.
        ArtifactError: The disk is full.
    """
    known = {} if memory is None else _remembered(memory)
    keys, folder = keys_of(paths) if paths else ([], "")
    now = [(str(path), *key[1:]) for path, key in zip(paths, keys, strict=True)]
    new = [index for index, row in enumerate(now) if row not in known and row[1:] != NOT_THERE]
    if new:
        LOG.info("decoding %d of %d images to the last byte", len(new), len(now))
    layout = None if signatures is None else first_layout([paths[n] for n in new], reading)
    files = [keys[index] for index in new]
    looked_at = look_at(
        files, folder, layout, jobs=jobs, store=signatures, task="verify", reading=reading
    )
    done = 0
    for looks in looked_at:
        for index, look in zip(new[done:], looks, strict=False):
            known[now[index]] = look.height, look.width, look.defect
        done += len(looks)
        if memory is not None and (done % REMEMBERED_AFTER == 0 or done == len(new)):
            _remember(memory, known)
    verdicts_now = [(*row, *known.get(row, (0, 0, MISSING))) for row in now]
    verdicts = pd.DataFrame(verdicts_now, columns=COLUMNS)
    return verdicts if sizes_differ else _mark_odd_sizes(verdicts)


def _remembered(memory: Path) -> Verdicts:
    if not memory.is_file():
        return {}
    content = b""
    with suppress(OSError):
        content = memory.read_bytes()
    first, _, table = content.partition(b"\n")
    if first != _first_line(table):
        LOG.warning("%s: damaged, or of another version: every image is looked at again", memory)
        return {}
    text = io.StringIO(table.decode(errors="surrogateescape"), newline="")
    return {
        (file, int(size), int(mtime_ns)): (int(height), int(width), defect)
        for file, size, mtime_ns, height, width, defect in csv.reader(text)
    }


def _remember(memory: Path, known: Verdicts) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        (*row, *verdict) for row, verdict in known.items() if verdict[2] != MISSING
    )
    table = text.getvalue().encode(errors="surrogateescape")
    write_atomic(memory, _first_line(table) + b"\n" + table)


def _first_line(table: bytes) -> bytes:
    """Tell a whole table of this version's verdicts from anything else."""
    return f"verdicts {VERSION} {hashlib.sha256(table).hexdigest()}".encode()


def _mark_odd_sizes(verdicts: pd.DataFrame) -> pd.DataFrame:
    usable = verdicts["defect"] == ""
    sizes = list(zip(verdicts.height, verdicts.width, strict=True))
    counted = Counter(size for size, use in zip(sizes, usable, strict=True) if use)
    if not counted:
        return verdicts
    (height, width), _ = counted.most_common(1)[0]
    odd = usable & ((verdicts.height != height) | (verdicts.width != width))
    verdicts.loc[odd, "defect"] = [
        f"expected {width}x{height} px like most, got {w}x{h}"
        for (h, w), is_odd in zip(sizes, odd, strict=True)
        if is_odd
    ]
    return verdicts
