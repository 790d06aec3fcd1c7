"""Tables of numbers with a row for an image: the index of maps, and what a report reads."""

from pathlib import Path

import pandas as pd

TEXT = ("ImageId", "sha256")
GAPS = ("", "nan", "NaN")


def read_numbers(path: Path) -> pd.DataFrame:
    """Read a CSV file; what stands under TEXT is text, also `NA`, and a gap elsewhere is NaN.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no table.
    """
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT, str),
        keep_default_na=False,
        na_values={name: GAPS for name in columns if name not in TEXT},
    )
