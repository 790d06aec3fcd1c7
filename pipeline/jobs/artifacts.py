"""Files that are whole or absent.

Everything the pipeline writes goes to a temporary name in the target's own folder and is renamed
when it is complete and on the disk, so that a reader never meets half a file, whatever killed the
writer. A full disk is reported, and the last complete version stays.
"""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import ArtifactError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def write_atomic(
    path: Path, content: bytes | Callable[[BinaryIO], None], *, sync: bool = True
) -> None:
    """Write `path` so that it is either the old version or the whole new one.

    Args:
        path: Target; its folder is made if missing.
        content: The bytes, or a function that writes them to an open binary file.
        sync: Whether to wait until they are on the disk. Without, a power cut may take them: only
            for what the caller syncs before anything says that it is there.

    Raises:
        ArtifactError: The disk is full; the previous version of `path` is untouched.
    """
    if path.is_symlink():  # what it leads to is written, and it stays
        path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, since a name may be as long as the file system takes; random, since a shared folder has
    # writers on several machines.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # torch.save wraps the operating system's error, so the whole chain is looked at.
        if _disk_full(error):
            raise ArtifactError(
                f"{path}: the disk is full ({_free_mib(path.parent)} MiB free). Nothing half "
                "written was kept; the last complete state stands. Free some space and run the "
                "same command again: it resumes from there."
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _free_mib(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize // 2**20


def json_bytes(value: Any) -> bytes:  # noqa: ANN401  any JSON value
    """Return the bytes of `value` as readable JSON."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  any JSON value
    """Write `value` as readable JSON, atomically."""
    write_atomic(path, json_bytes(value))


def read_json(path: Path) -> Any:  # noqa: ANN401  any JSON value
    """Read JSON that the pipeline wrote.

    Raises:
        ArtifactError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: missing. Run the stage that makes it first.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path}: not readable as JSON ({error}). Delete it and run its stage again."
        ) from error


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
