"""Stage 7: the run as a page to look at.

Reads what the other stages recorded, the images and maps it shows, and `submissions/ledger.csv`.
Writes `runs/<name>/report/index.html`, one file that needs no network. It takes seconds and is made
anew whenever a file that it shows has changed; a missing or damaged record leaves a note in its
place and is named here.
"""

import errno
import hashlib
import logging
from pathlib import Path

from pipeline.errors import explain
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.command import run_stages
from pipeline.jobs.run import Run

LOG = logging.getLogger("pipeline.s7_report")


NOT_SHOWN = {"locks", "logs", "report", "run.log"}


def stage(run: Run) -> None:
    """Render the page."""
    from pipeline.kaggle.ledger import LEDGER

    path = run.folder / "report" / "index.html"
    shown = [each for each in run.folder.glob("*") if each.name not in NOT_SHOWN]
    code = [Path(__file__).with_name(room) for room in ("report", "competitions")]
    mark = _mark([*shown, LEDGER, *code])
    if not run.restart and path.is_file() and path.read_bytes().endswith(mark):
        LOG.info("report: %s shows what there is", path)
        return
    from pipeline.report.page import run_page

    page, problems = run_page(run.folder, LEDGER)
    try:
        write_atomic(path, page if problems else page + mark)
    except OSError as error:
        # A finished run can be looked at where nothing can be written.
        if error.errno not in {errno.EROFS, errno.EACCES} or not path.is_file():
            raise
        LOG.warning("report: the page made before is kept: %s", explain(error))
    for problem in problems:
        LOG.warning("report: %s", problem)
    LOG.info("report: %s (%.1f MB)", path, len(page) / 1e6)


def _mark(sources: list[Path]) -> bytes:
    """Return a comment that tells files, and all those in folders, from any others or changed."""
    files = sorted(file for each in sources for file in (each, *each.rglob("*")) if file.is_file())
    known = [(file, file.stat()) for file in files if file.suffix != ".pyc"]
    seen = [(str(file), status.st_size, status.st_mtime_ns) for file, status in known]
    return f"<!-- {hashlib.sha256(repr(seen).encode()).hexdigest()} -->".encode()


if __name__ == "__main__":
    run_stages("s7_report")
