"""A zip archive, proven whole before a byte of it is used, and unpacked whole or not at all.

A zip says for every member what its content's CRC must be. A download that was resumed wrongly
has the right size and the wrong content; only reading everything shows it.
"""

import errno
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tqdm import tqdm

from pipeline.errors import DataError

CHUNK_BYTES = 2**20
BLOCK_BYTES = 4096
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 2048
MIB = 2**20


def archive_defect(path: Path) -> str:
    """Read every member to its end and compare the CRCs.

    Args:
        path: A zip archive, or what should be one.

    Returns:
        What is wrong, as part of a sentence; "" for a whole archive.

    Raises:
        OSError: The file cannot be read, which says nothing about the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            return _wrong_name(members) or _first_damage(archive, members)
    except Exception as error:
        return f"not a whole zip archive ({_reason(error)})"


def _reason(error: Exception) -> str:
    """Say what a decoder, of whatever kind, has found wrong with an archive."""
    # A decoder's own OSError has no number. A place that no file has is the archive's fault.
    if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
        raise error
    return str(error) or type(error).__name__


def _wrong_name(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return why the members' names cannot be those of files in one folder, "" if they can."""
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in members:
        name, path = member.filename, PurePosixPath(member.filename)
        if not _inside(name):
            return f"member {name!r} would be written outside of the folder"
        longest = max((len(part.encode()) for part in path.parts), default=0)
        if longest > MAX_NAME_BYTES or len(name.encode()) > MAX_PATH_BYTES:
            return f"member {name[:40]!r}... has too long a name"
        if path in files and not member.is_dir():
            return f"member {name!r} is in it twice"
        (folders if member.is_dir() else files).add(path)
        folders.update(path.parents)
    if not files:
        return "the archive holds no file"
    both = files & folders
    return f"member '{min(both)}' is a file and a folder" if both else ""


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _first_damage(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo]) -> str:
    damaged: list[str] = []
    with _bar("verify archive", members) as bar:
        for member in members:
            try:
                with archive.open(member) as source:
                    while chunk := source.read(CHUNK_BYTES):
                        bar.update(len(chunk))
            except Exception as error:
                damaged.append(f"{member.filename!r}: {_reason(error)}")
    if not damaged:
        return ""
    return f"{len(damaged)} of {len(members)} members cannot be unpacked, the first: {damaged[0]}"


def extract_archive(path: Path, root: Path, layout: Sequence[str]) -> None:
    """Unpack an archive without defect; `root` appears complete, by one rename, or not at all.

    A folder of the layout that is not in it, but packed as an archive of its name, is unpacked too.

    Args:
        path: The archive.
        root: Folder to make; it may exist if it is empty.
        layout: Names that the unpacked folder must hold.

    Raises:
        DataError: The disk is too small, the archive is of something else, or one in it is damaged.
    """
    unfinished = root.with_name(f".{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # A file takes whole blocks.
        needed = sum(member.file_size + BLOCK_BYTES for member in members)
        check_free_disk(root.parent, needed, f"unpacking {path.name}")
        with _bar("unpack", members) as bar:
            for member in members:
                _extract(archive, member, unfinished, bar)
    missing = [name for name in layout if not (unfinished / name).exists()]
    for top in sorted({PurePosixPath(name).parts[0] for name in missing}):
        inner = unfinished / f"{top}.zip"
        if inner.is_file() and not (unfinished / top).exists():
            if defect := archive_defect(inner):
                raise DataError(f"{path}: {inner.name} in it: {defect}. Fetch the archive again.")
            extract_archive(inner, unfinished / top, ())
            inner.unlink()
    missing = [name for name in missing if not (unfinished / name).exists()]
    if missing:
        found = ", ".join(sorted(child.name for child in unfinished.iterdir())[:8])
        shutil.rmtree(unfinished)
        raise DataError(
            f"{path}: expected {', '.join(layout)} in the archive; not there: "
            f"{', '.join(missing)}; found {found}. Correct the competition's slug, or remove the "
            "archive if it is of another competition."
        )
    os.sync()  # the name must not reach the disk before the content
    try:
        unfinished.replace(root)
    except OSError as error:
        raise DataError(
            f"{root}: cannot be put in place ({error.strerror}). It must be missing or an empty "
            "folder on the same disk as its parent: point data.root to a folder inside of it."
        ) from error


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, bar: "tqdm[NoReturn]"
) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _bar(label: str, members: Sequence[zipfile.ZipInfo]) -> "tqdm[NoReturn]":
    total = sum(member.file_size for member in members)
    # disable=None: no bar where the output is not a terminal.
    return tqdm(desc=label, total=total, unit="B", unit_scale=True, disable=None)


def check_free_disk(folder: Path, needed_bytes: int, doing: str) -> None:
    """Compare the free disk with what is needed.

    Raises:
        DataError: There is less.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DataError(
            f"{folder}: {doing} needs {needed_bytes / MIB:,.0f} MiB, and {free_bytes / MIB:,.0f} "
            "MiB are free. Free some space, or point data.root to a larger disk."
        )
