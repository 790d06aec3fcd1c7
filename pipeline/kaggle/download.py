"""From nothing to a folder with the competition's files, whatever breaks on the way.

Beside `root` lie `<slug>.zip.partial` while the archive comes, `<slug>.zip` once it has,
`.<root>.unfinished` while it is unpacked, and the lock `.<slug>.lock`. Each step ends with a
rename, so the same command resumes from the last whole state. An archive that was fetched by other
means is used if it is put there.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import DataError
from pipeline.jobs.lock import Lock
from pipeline.kaggle.archive import archive_defect, check_free_disk, extract_archive
from pipeline.kaggle.client import PATIENCE, KaggleClient, Patience

LOG = logging.getLogger(__name__)
# Images do not compress: unpacked they take what the archive takes, and whole blocks on the disk.
UNPACKED_PER_ARCHIVE_BYTE = 1.05
DOWNLOADS = 2


def download_competition(
    root: Path,
    *,
    slug: str,
    layout: Sequence[str],
    keep_archive: bool,
    patience: Patience = PATIENCE,
) -> None:
    """Fill `root` with the competition's files, unless it has them.

    Args:
        root: Folder that holds, or shall hold, the files; a link is followed.
        slug: The competition, as in its address.
        layout: Names that a complete `root` holds.
        keep_archive: Whether the archive stays beside `root` afterwards.
        patience: Deadlines and number of attempts.

    Raises:
        DataError: `root` holds something else, the disk is too small, or the archive is damaged.
        KaggleError: Kaggle refused, failed or stayed silent.
    """
    root = root.resolve()
    archive = root.parent / f"{slug}.zip"
    try:
        if _complete(root, layout):
            return
        # Of two at once the second finds what the first has brought.
        with Lock(root.parent / f".{slug}.lock", f"downloading {slug}").take(wait=True):
            if _complete(root, layout):
                return
            _provide(archive, slug, patience)
            extract_archive(archive, root, layout)
            if not keep_archive:
                archive.unlink()
    except OSError as error:
        raise DataError(
            f"{root.parent}: cannot be written or read ({error}). Correct that, or point "
            "data.root to another disk, and run the same command again: it resumes from the last "
            "whole state."
        ) from error
    LOG.info("%s: complete", root)


def _complete(root: Path, layout: Sequence[str]) -> bool:
    """Tell whether the competition's files are there.

    Raises:
        DataError: `root` holds something else, with which they must not be mixed.
    """
    missing = ", ".join(name for name in layout if not (root / name).exists())
    if not missing:
        return True
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    raise DataError(
        f"{root}: expected the competition's files or nothing; it holds something, but not "
        f"{missing}. Complete it, move it away, or point data.root to a folder that does not exist."
    )


def _provide(archive: Path, slug: str, patience: Patience) -> None:
    """See to it that `archive` is there and whole: take the one that is there, or download it.

    Raises:
        DataError: The one that is there is damaged, or see `_fetch`.
        KaggleError: It could not be downloaded.
    """
    if not archive.exists():
        _fetch(archive, slug, patience)
        return
    LOG.info("%s: found; verifying every member", archive)
    defect = archive_defect(archive)
    if defect:
        raise DataError(
            f"{archive}: {defect}. Delete it and run the same command again: it is then downloaded."
        )


def _fetch(archive: Path, slug: str, patience: Patience) -> None:
    """Download and verify; a damaged archive is thrown away and fetched once more.

    Raises:
        DataError: It was damaged each time, or the disk is too small.
        KaggleError: It could not be downloaded.
    """
    partial = archive.with_name(f"{archive.name}.partial")
    marker = partial.with_name(f"{partial.name}.json")
    for _ in range(DOWNLOADS):
        with KaggleClient(slug, patience) as kaggle:
            _transfer(kaggle, partial)
        LOG.info("%s: verifying every member", partial.name)
        defect = archive_defect(partial)
        if not defect:
            partial.replace(archive)
            marker.unlink(missing_ok=True)
            return
        LOG.warning("%s: %s; thrown away", partial.name, defect)
        partial.unlink()
        marker.unlink(missing_ok=True)
    raise DataError(
        f"{archive}: downloaded {DOWNLOADS} times and unusable each time ({defect}); nothing was "
        "kept. Look for a proxy or a disk that changes data, or fetch the archive with a browser, "
        "put it there, and run the same command again."
    )


def _transfer(kaggle: KaggleClient, partial: Path) -> None:
    doing = "downloading the competition's files"
    size = kaggle.call("archive_size", doing, slug=kaggle.slug)
    there = _bytes(partial)
    if size is not None:
        needed = size - there + int(UNPACKED_PER_ARCHIVE_BYTE * size)
        check_free_disk(partial.parent, needed, f"the archive of {kaggle.slug} and its content")
    with tqdm(
        desc="download", total=size, initial=there, unit="B", unit_scale=True, disable=None
    ) as bar:

        def progress() -> int:
            now = _bytes(partial)
            bar.update(now - bar.n)
            return now

        kaggle.call(
            "fetch_archive", doing, progress=progress, slug=kaggle.slug, partial=str(partial)
        )


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
