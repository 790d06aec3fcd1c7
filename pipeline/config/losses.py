"""The loss terms that a configuration may list, each with its settings.

A term is `{name: ..., weight: ..., <its own fields>}`; the training loss is the weighted sum of the
terms. Like the rest of the schema it has no defaults. What each term computes is in
`pipeline.training.losses`; torch is not imported here, so that reading a configuration stays quick.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.earlier import Neutral
from pipeline.config.fields import Section

__all__ = [
    "SIGMOID_ONLY",
    "SOFTMAX_ONLY",
    "Bce",
    "BceMinusLnDice",
    "CrossEntropy",
    "Focal",
    "LossTerm",
    "LovaszHinge",
    "LovaszSoftmax",
    "SoftDice",
    "SoftJaccard",
]

LabelSmoothing = Annotated[float, Field(ge=0, lt=1)]
Smooth = Annotated[float, Field(gt=0)]


class _Term(Section):
    """What all terms share."""

    weight: Annotated[float, Field(gt=0), Neutral(1.0)]


class Bce(_Term):
    """Binary cross-entropy of every channel, mean over pixels."""

    name: Literal["bce"]
    label_smoothing: Annotated[LabelSmoothing, Neutral(0.0)]


class CrossEntropy(_Term):
    """Categorical cross-entropy over the channels, mean over pixels."""

    name: Literal["cross_entropy"]
    label_smoothing: Annotated[LabelSmoothing, Neutral(0.0)]


class SoftDice(_Term):
    """One minus the soft Dice coefficient."""

    name: Literal["soft_dice"]
    per_image: Annotated[bool, Neutral(False)]
    smooth: Annotated[Smooth, Neutral(1.0)]


class SoftJaccard(_Term):
    """One minus the soft Jaccard coefficient."""

    name: Literal["soft_jaccard"]
    per_image: Annotated[bool, Neutral(False)]
    smooth: Annotated[Smooth, Neutral(1.0)]


class BceMinusLnDice(_Term):
    """BCE - ln(DICE); `label_smoothing` is that of the BCE."""

    name: Literal["bce_minus_ln_dice"]
    per_image: Annotated[bool, Neutral(False)]
    smooth: Annotated[Smooth, Neutral(1.0)]
    label_smoothing: Annotated[LabelSmoothing, Neutral(0.0)]


class Focal(_Term):
    """Cross-entropy scaled by (1 - p_t)^gamma; `alpha: null` leaves the classes unweighted."""

    name: Literal["focal"]
    alpha: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, Neutral(None)]
    gamma: Annotated[float, Field(ge=0), Neutral(0.0)]


class LovaszHinge(_Term):
    """Lovász extension of the Jaccard loss on hinge margins; `empty` says what empty truth does."""

    name: Literal["lovasz_hinge"]
    per_image: Annotated[bool, Neutral(False)]
    margin: Annotated[Literal["relu", "elu"], Neutral("relu")]
    symmetric: Annotated[bool, Neutral(False)]
    empty: Annotated[Literal["skip", "background", "keep"], Neutral("keep")]


class LovaszSoftmax(_Term):
    """Lovász extension of the Jaccard loss on softmax errors, mean over classes."""

    name: Literal["lovasz_softmax"]
    classes: Annotated[Literal["present", "all"], Neutral("all")]
    per_image: Annotated[bool, Neutral(False)]


LossTerm = Annotated[
    Bce
    | BceMinusLnDice
    | CrossEntropy
    | Focal
    | LovaszHinge
    | LovaszSoftmax
    | SoftDice
    | SoftJaccard,
    Field(discriminator="name"),
]

SIGMOID_ONLY = {"bce", "bce_minus_ln_dice", "lovasz_hinge"}
"""Terms for targets that answer each channel by yes or no."""
SOFTMAX_ONLY = {"cross_entropy", "lovasz_softmax"}
"""Terms for targets that choose one class a pixel; what is in neither set takes both."""
