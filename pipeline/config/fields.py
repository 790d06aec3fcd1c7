"""What all parts of the schema are made of: a strict section, and what is found in several."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config.earlier import Neutral

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


SIGMOID, SOFTMAX = frozenset({"sigmoid"}), frozenset({"softmax"})
"""How a network answers: each channel by yes or no, or by one class a pixel."""


CHANNELS = {"object": 1, "object_contact": 2, "softmax": 3}
"""Output channels a class for each kind of target. Those with several tell touching borders."""


def channels(kind: str, classes: int) -> int:
    """Return the output channels of a network that learns so many classes of objects."""
    return CHANNELS[kind] * classes


class LossTerm(Section):
    """A term of the training loss, `{name: ..., weight: ..., <its own settings>}`.

    Attributes:
        weight: Of the term in the sum.
        answers: The kinds of answers that it judges.
        loss: Returns a scalar to minimise from logits, truth and the term's own settings by name.
    """

    weight: Annotated[Positive, Neutral(1.0)]

    answers: ClassVar[frozenset[str]]
    loss: ClassVar[Callable[..., "Tensor"]]

    @property
    def settings(self) -> dict[str, object]:
        """The term's own settings."""
        return self.model_dump(exclude={"name", "weight"})


STORED = {"stored": True}
"""Validation's context where a run's own configuration is read again."""
