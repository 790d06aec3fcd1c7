"""A finished run as a model in one file: `./run.sh export_model NAME --out ships.zip`.

Reads the fine-tuned weights of all folds, of an average of runs those of all of them, the rules and
the confidence. Writes a zip with these, the configuration and a card with the scores. The networks
stay apart: the mean of what they predict is taken. `predict_images --model` and
`pipeline.load_model` use it, without the run.
"""

import logging
from pathlib import Path

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.jobs.command import argument_parser, exit_codes

LOG = logging.getLogger("pipeline.commands.export_model")


def main() -> None:
    """Read the command line and export."""
    parser = argument_parser(__doc__)
    parser.add_argument("run", help="a finished run, by name or folder")
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        from pipeline.package.model_file import export_model

        out = of_caller(arguments.out)
        export_model(open_run(arguments.run), out)
        LOG.info("%s: %.1f MiB", out, out.stat().st_size / 2**20)


if __name__ == "__main__":
    main()
