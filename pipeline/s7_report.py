"""Stage 7: the run as a page to look at.

Reads what the other stages recorded, the images and maps it shows, and `submissions/ledger.csv`.
Writes `runs/<name>/report/index.html`, one file that needs no network. It takes seconds and is made
anew each time; a missing or damaged record leaves a note in its place and is named here.
"""

import errno
import logging

from pipeline.errors import explain
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.command import run_stages
from pipeline.jobs.run import Run

LOG = logging.getLogger("pipeline.s7_report")


def stage(run: Run) -> None:
    """Render the page."""
    from pipeline.kaggle.ledger import LEDGER
    from pipeline.report.page import run_page

    page, problems = run_page(run.folder, LEDGER)
    path = run.folder / "report" / "index.html"
    try:
        write_atomic(path, page)
    except OSError as error:
        # A finished run can be looked at where nothing can be written.
        if error.errno not in {errno.EROFS, errno.EACCES} or not path.is_file():
            raise
        LOG.warning("report: the page made before is kept: %s", explain(error))
    for problem in problems:
        LOG.warning("report: %s", problem)
    LOG.info("report: %s (%.1f MB)", path, len(page) / 1e6)


if __name__ == "__main__":
    run_stages("s7_report")
