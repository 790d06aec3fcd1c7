"""What `tests/bench/encoders.py` measured of encoders, the smallest of each family."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

TABLE = Path(__file__).with_name("encoders.csv")


@dataclass(frozen=True)
class Encoder:
    """One encoder, as a configuration names it; all values are text.

    Attributes:
        family: Beginning of its name, which larger ones share.
        name: For `network.encoder`.
        arch: `unet`, or `dpt` where it takes the encoder and `unet` does not; `-` for neither.
        sizes: Which images it takes; `-` for none.
        img_size: Whether `network.options.img_size` makes it for another size: yes or no.
        finest_px: Stride of its finest features; `-` for none.
        parameters_m: Of the network, that a gradient reaches, in millions.
        gmacs: Multiply-adds for an image of 256 x 256 px, forward, in thousand millions.
        weights: Whether `network.weights=imagenet` finds weights: yes or no.
        result: `trained` where a step and a prediction were computed, `shapes` where only shapes
            were; else why it cannot be used.
    """

    family: str
    name: str
    arch: str
    sizes: str
    img_size: str
    finest_px: str
    parameters_m: str
    gmacs: str
    weights: str
    result: str


COLUMNS = tuple(field.name for field in fields(Encoder))


def read_encoders(path: Path = TABLE) -> list[Encoder]:
    """Read the table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Encoder(**row) for row in csv.DictReader(file)]
