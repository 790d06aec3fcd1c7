"""How far a part is, for whoever started its process.

A loop tells `Progress` what it has done; the launcher names a small file in PIPELINE_PROGRESS, and
makes a line of its table from the latest numbers there. Without the variable nothing is written.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRESS = "PIPELINE_PROGRESS"
EVERY_S = 1.0


class Progress:
    """Tells how many images of all are done, and at which rate.

    Args:
        total: Images, or crops, from the beginning to the end of the part.
        done: Those done before, which the rate does not count.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        name = os.environ.get(PROGRESS)
        self._path = Path(name) if name else None
        self._total, self._done, self._begun = total, done, done
        self._started = self._told = time.monotonic()

    def update(self, count: int, figures: Callable[[], dict[str, Any]] = dict) -> None:
        """Count `count` more; at most once a second, tell so, together with `figures()`."""
        self._done += count
        now = time.monotonic()
        if self._path is None or now - self._told < EVERY_S:
            return
        self._told = now
        rate = (self._done - self._begun) / (now - self._started)
        told = {
            "images_per_s": rate,
            "left_s": (self._total - self._done) / rate,
            **figures(),
        }
        # Not `write_atomic`: the file need not outlive a power cut, and a loop does not wait for
        # the disk.
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(told), encoding="utf-8")
        temporary.replace(self._path)


def is_launched() -> bool:
    """Tell whether a launcher has started this process."""
    return PROGRESS in os.environ


def read_progress(path: Path) -> dict[str, Any]:
    """Return what was told last; nothing was: empty."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return told
