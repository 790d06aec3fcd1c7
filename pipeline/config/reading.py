"""How the values in a picture file become RGB of 8 bits, which is what networks see."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.config.earlier import Neutral
from pipeline.config.fields import Section

Level = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[list[Level], Field(min_length=3, max_length=3)]
Value = Annotated[float, Field(allow_inf_nan=False)]


class Reading(Section):
    """What is done with pictures that are not simply RGB of 8 bits; nothing is guessed.

    Grey and palettes are always taken: grey is repeated in each channel. `alpha` is for pictures
    with transparent pixels: they are refused, or their alpha channel is dropped, or they are laid
    over a background, [red, green, blue]. `range` is for those of more than 8 bits: the value that
    becomes 0 and the one that becomes 255, with what lies between in proportion, rounded, and what
    lies beyond cut off; null refuses them. Pictures of 8 bits stay as they are.
    """

    alpha: Annotated[Literal["refuse", "drop"] | Colour, Neutral("refuse")]
    range: Annotated[
        Annotated[list[Value], Field(min_length=2, max_length=2)] | None, Neutral(None)
    ]

    @property
    def mark(self) -> str:
        """What the name of a record of pictures ends in that were read this way."""
        if self == STRICT:
            return ""
        return f"-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"

    @field_validator("range")
    @classmethod
    def _rising(cls, values: list[float] | None) -> list[float] | None:
        if values is not None and values[0] >= values[1]:
            raise ValueError(f"expected the lower value first, got {values}.")
        return values


STRICT = Reading(alpha="refuse", range=None)
"""Takes no picture whose values would have to be changed."""
