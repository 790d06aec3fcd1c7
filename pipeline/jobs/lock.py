"""One writer at a time: locks that a process holds, and that end with it.

A lock is a file; the process that holds it stands in there. The kernel frees it when the process
is gone, also by kill -9, so a lock is never left behind. Forked processes do not inherit it. On a
shared folder it holds between machines, if the file system passes locks on.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pipeline.errors import ArtifactError

LOG = logging.getLogger(__name__)
POLL_S = 0.1
LOCAL_ONLY = {"nolock", "local_lock=all", "local_lock=posix", "localflock"}
"""Options of network file systems whose locks other machines do not see."""


class Lock:
    """A lock, not held yet.

    Args:
        path: Its file, made if missing and never removed.
        what: What it protects, for messages: `train fold 0`.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._file: int | None = None

    def take(self, *, shared: bool = False, wait: bool = False) -> Self:
        """Hold the lock until `release`, or until this process ends.

        Args:
            shared: Others may hold it shared, too.
            wait: Wait for who holds it, instead of refusing.

        Raises:
            ArtifactError: Another process holds it, or the file system has no locks.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        told = False
        while not self._taken(fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if not wait:
                holder = self._holder()
                self.release()
                raise ArtifactError(
                    f"{self._what}: {holder} is at work on it. Wait for it or stop it, or choose "
                    f"another `name=`. ({self._path} is free when that process is gone.)"
                )
            if not told:
                LOG.info("%s: waiting for %s", self._what, self._holder())
                told = True
            time.sleep(POLL_S)
        self._sign()
        return self

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _taken(self, kind: int) -> bool:
        assert self._file is not None
        try:
            # Not flock: a forked loader process would hold it on when this one is killed.
            fcntl.lockf(self._file, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            self.release()
            raise ArtifactError(
                f"{self._path}: the file system has no locks ({error.strerror}), so nothing keeps "
                "two processes from the same work. Put the project on one that has them; NFS "
                "needs its lock service."
            ) from error
        return True

    def _sign(self) -> None:
        assert self._file is not None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(holder).encode(), 0)

    def _holder(self) -> str:
        try:
            known = json.loads(self._path.read_bytes())
            return f"process {known['pid']} on {known['host']} since {known['since']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def seen_by_other_machines(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Tell whether locks in a folder hold between machines, as far as its mount options say."""
    folder, place, options = folder.resolve(), Path("/"), ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, mounted, _, found, *_ = line.split(" ")
        at = Path(mounted.replace("\\040", " "))
        if folder.is_relative_to(at) and len(at.parts) >= len(place.parts):
            place, options = at, found
    return LOCAL_ONLY.isdisjoint(options.split(","))
