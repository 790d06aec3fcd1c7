"""Two or more runs side by side: `python -m pipeline.commands.compare runs/a runs/b ...`.

Reads what the runs recorded. Prints where they differ and what they score, and writes a page with
the images whose score changed most: `runs/<first>/report/against-<others>.html`.
"""

import argparse
import logging
from pathlib import Path

from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.command import exit_codes

LOG = logging.getLogger("pipeline.commands.compare")


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="two or more folders of runs")
    given = parser.parse_args().runs
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes():
        folders = [of_caller(folder) for folder in given]
        names = [folder.resolve().name for folder in folders]
        if len(folders) < 2 or len(set(names)) < len(names):
            raise ConfigError(f"expected two or more different runs, got {' '.join(names)}.")
        for folder in folders:
            if not (folder / "config.yaml").is_file():
                raise ConfigError(
                    f"{folder}: no run: expected config.yaml in it, as runs/demo has."
                )
        from pipeline.report.comparison import compare

        page, text = compare(folders)
        path = folders[0] / "report" / f"against-{'-'.join(names[1:])}.html"
        write_atomic(path, page)
        LOG.info("%s\n\n%s (%.1f MB)", text, path, len(page) / 1e6)


if __name__ == "__main__":
    main()
