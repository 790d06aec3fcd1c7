"""A finished run as a package for a Kaggle notebook without internet.

Reads the fine-tuned weights of all folds, of an average of runs those of all of them, and the
calibrated rules. Writes `runs/<name>/package/`: `dataset/`, with weights, rules, configuration and
wheels, and `notebook/`, which installs them, predicts the test images and writes `submission.csv`.
With `--push USER` both go to that account, private; without it nothing leaves the machine.
"""

import logging
from pathlib import Path

from pipeline.commands._runs import open_run
from pipeline.config.load import load_config
from pipeline.config.paths import of_caller
from pipeline.data.files import is_rendered
from pipeline.errors import ConfigError
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.jobs.run import Run

LOG = logging.getLogger("pipeline.commands.build_package")
NOBODY = "USERNAME"


def stage(run: Run, push: str | None, wheels: str | None) -> None:
    """Build the package, and send it if told to."""
    if push is not None and is_rendered(run.config.data.root):
        raise ConfigError(
            "--push: this run is on the rendered demo, whose images Kaggle does not have. Give "
            "the competition's files: data.root=/folder."
        )
    from pipeline.package.build import build_package
    from pipeline.package.wheels import MISSING_AT_KAGGLE

    wanted = MISSING_AT_KAGGLE if wheels is None else [name for name in wheels.split(",") if name]
    wanted = [str(of_caller(Path(name))) if name.endswith(".whl") else name for name in wanted]
    folder = build_package(run, push or NOBODY, wanted)
    dataset, notebook = folder / "dataset", folder / "notebook"
    size_mib = sum(path.stat().st_size for path in dataset.iterdir()) / 2**20
    LOG.info("package: %s (%.1f MiB) and %s", dataset, size_mib, notebook)
    if push is None:
        LOG.info("package: to send both, add --push and the name of your Kaggle account")
        return
    from pipeline.kaggle.publish import publish_dataset, publish_notebook

    publish_dataset(dataset)
    LOG.info("package: %s runs at Kaggle", publish_notebook(notebook))


def main() -> None:
    """Read the command line and build."""
    parser = argument_parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", help="a finished run, by name or folder")
    which.add_argument(
        "--config",
        type=Path,
        default=Path("configs/demo.yaml"),
        help="instead of it, the configuration that it was made with; default: %(default)s",
    )
    parser.add_argument("--push", metavar="USER", help="send both to this Kaggle account")
    parser.add_argument(
        "--wheels",
        metavar="A,B",
        help="what Kaggle's image lacks, as names or paths of wheels, instead of the known list; "
        "'' for nothing",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as seed=1")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    with exit_codes(resumes=False):
        if arguments.run is None:
            run = Run(load_config(arguments.config, arguments.overrides), restart=False)
        elif arguments.overrides:
            raise ConfigError(
                f"--run {arguments.run} is as it was configured; expected no key=value, got "
                f"{' '.join(arguments.overrides)}."
            )
        else:
            run = open_run(arguments.run)
        stage(run, arguments.push, arguments.wheels)


if __name__ == "__main__":
    main()
