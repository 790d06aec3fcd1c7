"""One part, in a process of its own.

    python -m tests.bench.gpu.part MODULE:FUNCTION RESULTS

Each number is a line of JSON in RESULTS as soon as it is known: what a part has measured stays when
it is ended. A library that is not installed is a line as well.
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

OWN = {"pipeline", "tests"}


class Number(NamedTuple):
    """One line of the table.

    Attributes:
        what: Was measured.
        value: In `unit`.
        unit: Of the value; "" for a ratio or a count.
        at_least: The goal, for what should be large.
        at_most: The goal, for what should be small.
    """

    what: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None


def main():
    os.setsid()  # what the part starts ends with it
    place, results = sys.argv[1:]
    tempfile.tempdir = str(Path(results).parent)  # which is removed, also after a kill
    module, function = place.split(":")
    with Path(results).open("a", encoding="utf-8", buffering=1) as file:
        try:
            for number in getattr(importlib.import_module(module), function)():
                file.write(json.dumps(number._asdict()) + "\n")
        except ModuleNotFoundError as error:
            name = error.name.partition(".")[0]
            if name in OWN:
                raise
            file.write(json.dumps({"missing": name}) + "\n")


if __name__ == "__main__":
    main()
