"""A run while it trains: a page that shows each epoch as soon as it ends, over HTTP.

What the stages have recorded so far enters; a browser asks for the page, and then, every two
seconds, whether there is more.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd

from pipeline.errors import ConfigError, explain
from pipeline.report.learning import PHASES, STAGES, learning
from pipeline.report.page import render
from pipeline.report.panels import Panel, Table, build, duration
from pipeline.report.records import Records

SHOWN = ("config.yaml", "*/manifest.json", "*/fold*/manifest.json", "*/fold*/history.csv")
ALONE = ("data", "split", "calibrate", "submit")
"""Stages of one job each."""
REPORT = Path("report", "index.html")


class LivePage:
    """The page of a run, made anew when a record that it shows has changed.

    Args:
        folder: `runs/<name>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock, self._mark, self._page = threading.Lock(), b"", b""

    def mark(self) -> bytes:
        """Return what tells the records from any others, or changed ones."""
        known = []
        for file in sorted(file for pattern in SHOWN for file in self.folder.glob(pattern)):
            with suppress(FileNotFoundError):  # a stage that is started over
                known.append((str(file), file.stat().st_mtime_ns))
        return hashlib.sha256(repr(known).encode()).hexdigest().encode()

    def render(self) -> bytes:
        """Return the page, UTF-8."""
        with self._lock:
            mark = self.mark()
            if mark != self._mark:
                records = Records(self.folder)
                panels = [
                    build("progress", "Progress", progress, records),
                    build("learning", "Learning", learning, records),
                ]
                self._page = render(
                    "live.html",
                    title=f"Run {records.name}",
                    mark=mark.decode(),
                    panels=panels,
                    problems=[],
                    reported=(self.folder / REPORT).is_file(),
                )
                self._mark = mark
            return self._page


def progress(key: str, title: str, records: Records) -> Panel:
    """Say which stages are done, and how far each fold is."""
    config, folder = records.config, records.folder
    rows = [[stage, _state(folder / stage), *[""] * 5] for stage in ALONE]
    folds = [_fold(records, stage, fold) for stage in STAGES for fold in range(config.folds.count)]
    header = ["", "state", "epoch", "loss", "validation loss", "Dice", "time left"]
    return Panel(key, title, tables=[Table(header, [*rows[:2], *folds, *rows[2:]])])


def _state(folder: Path) -> str:
    if (folder / "manifest.json").is_file():
        return "done"
    return "begun" if folder.is_dir() else "–"


def _fold(records: Records, stage: str, fold: int) -> list[str]:
    epochs: int = getattr(records.config, stage).epochs
    history: pd.DataFrame | None = records.folds(stage, "history.csv").get(fold)
    state = _state(records.folder / stage / f"fold{fold}")
    if history is None or not len(history):
        return [f"{stage} fold {fold}", state, *[""] * 5]
    last = history.iloc[-1]
    epoch_s = history[[name for name in PHASES if name in history]].sum(axis=1).mean()
    left = "" if state == "done" else duration(epoch_s * (epochs - len(history)))
    return [
        *(f"{stage} fold {fold}", state, f"{len(history)} of {epochs}"),
        *(f"{last[name]:.4f}" for name in ("loss", "val_loss", "val_dice")),
        left,
    ]


def serve(folder: Path, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server of a run's page, which listens already.

    Args:
        folder: `runs/<name>`.
        host: Address to listen at.
        port: The same; 0 for any free one.

    Raises:
        ConfigError: The address cannot be had.
    """
    page = LivePage(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: dict[str, Callable[[], bytes]] = {"/": page.render, "/mark": page.mark}
            if (folder / REPORT).is_file():
                answers["/report"] = (folder / REPORT).read_bytes
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = answer()
            self.send_response(HTTPStatus.OK)
            kind = "text/plain" if self.path == "/mark" else "text/html"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of requests."""

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        told = explain(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"{host}:{port}: expected an address to listen at, got: {told.rstrip('.')}. Give "
            "another --port, 0 for any free one, or another --host."
        ) from None
