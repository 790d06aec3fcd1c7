"""A submission from a package that `build_package` built, without the run behind it.

Reads the package, and a folder of test images and the sample submission. Writes the
CSV file. This is what the package's notebook does at Kaggle.
"""

import logging
from pathlib import Path

from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError
from pipeline.jobs.command import argument_parser, exit_codes


def main() -> None:
    """Read the command line and predict."""
    parser = argument_parser(__doc__)
    parser.add_argument("--package", type=Path, required=True, help="the folder `dataset`")
    parser.add_argument("--data", type=Path, required=True, help="the competition's folder")
    parser.add_argument("--output", type=Path, required=True, help="the CSV file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    with exit_codes(resumes=False):
        from pipeline.package.predict import predict_package

        given = arguments.package, arguments.data, arguments.output
        package, data, output = map(of_caller, given)
        if output.is_dir():
            raise ConfigError(f"--output {output}: expected the name of a CSV file, got a folder.")
        predict_package(package, data, output)


if __name__ == "__main__":
    main()
