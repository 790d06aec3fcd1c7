"""Which image files can be used: every byte decoded once, the verdict remembered.

Image paths enter; one row per file leaves, with its size and, for a file that cannot be used, the
reason. Pillow reads to the last byte and raises on a truncated JPEG, where OpenCV returns a
full-size array. A verdict is kept by file size and time stamp, so a second look costs a `stat`.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from pipeline.jobs.artifacts import write_atomic

LOG = logging.getLogger(__name__)
REMEMBERED_AFTER = 16_384  # images: what an interruption costs at most, about a minute
COLUMNS = ["file", "bytes", "mtime_ns", "height", "width", "defect"]


def verify_images(paths: Sequence[Path], memory: Path, *, jobs: int) -> pd.DataFrame:
    """Decode each image completely, unless it was decoded before and has not changed.

    Args:
        paths: Image files; those that do not exist get the defect "missing".
        memory: CSV of earlier verdicts, updated on the way; deleting it costs only time.
        jobs: Threads that decode.

    Returns:
        COLUMNS, one row per path in the same order; `defect` is "" for a usable image, and an image
        whose size differs from that of most images has one.
    """
    known = _remembered(memory)
    now = [(str(path), *_stamp(path)) for path in paths]
    new = [row for row in now if row not in known and row[1] >= 0]
    if new:
        LOG.info("decoding %d of %d images to the last byte", len(new), len(now))
        # Threads: Pillow decodes without the interpreter's lock, and a fork after OpenCV or BLAS
        # has started threads of its own can hang.
        with ThreadPoolExecutor(jobs) as pool, tqdm(None, "verify", len(new), unit="image") as bar:
            for start in range(0, len(new), REMEMBERED_AFTER):
                part = new[start : start + REMEMBERED_AFTER]
                for row, verdict in zip(part, pool.map(_decode, [r[0] for r in part]), strict=True):
                    known[row] = verdict
                    bar.update()
                rows = [(*row, *known[row]) for row in known]
                text = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False)
                write_atomic(memory, text.encode())
    verdicts_now = [(*row, *(known[row] if row[1] >= 0 else (0, 0, "missing"))) for row in now]
    return _mark_odd_sizes(pd.DataFrame(verdicts_now, columns=COLUMNS))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _remembered(memory: Path) -> dict[tuple[str, int, int], tuple[int, int, str]]:
    if not memory.is_file():
        return {}
    rows = pd.read_csv(memory, keep_default_na=False)[COLUMNS].itertuples(index=False, name=None)
    return {
        (file, size, mtime_ns): (height, width, defect)
        for file, size, mtime_ns, height, width, defect in rows
    }


def _decode(file: str) -> tuple[int, int, str]:
    """Return height, width and the defect of one image; 0, 0 where it cannot be read."""
    try:
        with Image.open(file) as image:
            image.load()
            defect = "" if image.mode == "RGB" else f"expected 3 colours, got {image.mode}"
            return image.height, image.width, defect
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        return 0, 0, f"not decodable: {' '.join(str(error).split())}"


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
