"""Two or more runs side by side: `./run.sh compare a b ...`.

Reads what the runs recorded. Prints where they differ and what they score, and writes a page with
the images whose score changed most: `runs/<first>/report/against-<others>.html`.
"""

import logging

from pipeline.commands._runs import run_folder
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.command import argument_parser, exit_codes

LOG = logging.getLogger("pipeline.commands.compare")


def main() -> None:
    """Read the command line and compare."""
    parser = argument_parser(__doc__)
    parser.add_argument("runs", nargs="+", help="two or more runs, by name or folder")
    runs = parser.parse_args().runs
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        if len(runs) < 2 or len({run_folder(run).resolve() for run in runs}) < len(runs):
            raise ConfigError(f"expected two or more different runs, got {' '.join(runs)}.")
        folders = [run_folder(run) for run in runs]
        from pipeline.report.comparison import compare

        page, text = compare(folders)
        others = "-".join(folder.resolve().name for folder in folders[1:])
        path = folders[0] / "report" / f"against-{others}.html"
        write_atomic(path, page)
        LOG.info("%s\n\n%s (%.1f MB)", text, path, len(page) / 1e6)


if __name__ == "__main__":
    main()
