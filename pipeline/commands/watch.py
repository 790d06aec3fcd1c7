"""Curves in a browser while a run trains: `./run.sh watch NAME`.

Serves a page of the run's progress, losses and scores, which shows each epoch as soon as it ends.
Ctrl-C ends it; the run is not touched.
"""

import logging

from pipeline.commands._runs import run_folder
from pipeline.jobs.command import argument_parser, exit_codes

LOG = logging.getLogger("pipeline.commands.watch")


def main() -> None:
    """Read the command line and serve."""
    parser = argument_parser(__doc__)
    parser.add_argument("run", help="a run, by name or folder")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0: any")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets other machines look; default: %(default)s"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        from pipeline.report.live import serve

        with serve(run_folder(arguments.run), arguments.host, arguments.port) as server:
            host, port = server.server_address[:2]
            LOG.info("http://%s:%d shows each epoch as it ends; Ctrl-C ends this", host, port)
            server.serve_forever()


if __name__ == "__main__":
    main()
