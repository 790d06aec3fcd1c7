"""A finished run in one file: `./run.sh export_model NAME --out ships.zip`.

Reads the fine-tuned weights of all folds, of an average of runs those of all of them, the rules and
the confidence. Writes a zip with these, the configuration and a card with the scores. The networks
stay apart: the mean of what they predict is taken. `predict_images --model` and
`pipeline.load_model` use it, without the run. `--as onnx` or `torch-export` writes the networks
alone, from pixels to probabilities, for programs without the pipeline.
"""

import logging
import re
from pathlib import Path

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError
from pipeline.jobs.command import argument_parser, exit_codes

LOG = logging.getLogger("pipeline.commands.export_model")


def main() -> None:
    """Read the command line and export."""
    parser = argument_parser(__doc__)
    parser.add_argument("run", help="a finished run, by name or folder")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--as",
        dest="form",
        choices=("model", "onnx", "torch-export"),
        default="model",
        help="what the file is; default: %(default)s",
    )
    parser.add_argument(
        "--size",
        metavar="H,W",
        help="of the images that an exported network takes, px, as in 768,768; default: any",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        out, size = of_caller(arguments.out), _size(arguments.size)
        if arguments.form == "model":
            from pipeline.package.model_file import export_model

            if size is not None:
                raise ConfigError(
                    "--size: a model takes images of any size. Leave it out, or add --as onnx."
                )
            export_model(open_run(arguments.run), out)
        else:
            from pipeline.package.graph_file import IMAGES, export_graph

            difference = export_graph(open_run(arguments.run), out, arguments.form, size)
            LOG.info("largest difference from torch on %d images: %.1e", IMAGES, difference)
        LOG.info("%s: %.1f MiB", out, out.stat().st_size / 2**20)


def _size(text: str | None) -> tuple[int, int] | None:
    """Read height and width, px."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4}),([1-9]\d{0,4})", text)
    if found is None:
        raise ConfigError(f"--size: expected height and width, px, as in 768,768, got {text}.")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
