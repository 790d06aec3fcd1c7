"""Soft Dice and soft Jaccard, and BCE - ln(Dice).

Source: Milletari et al., "V-Net", 3DV 2016 (Dice); Iglovikov et al., arXiv:1706.06169 (minus the
logarithm of Jaccard beside the BCE).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pipeline.config.earlier import Neutral
from pipeline.config.fields import SIGMOID, SOFTMAX, LossTerm, Positive
from pipeline.training.losses.cross_entropy import LabelSmoothing, bce
from pipeline.training.losses.lovasz import class_masks

if TYPE_CHECKING:
    from torch import Tensor

Smooth = Annotated[Positive, Neutral(1.0)]
PerImage = Annotated[bool, Neutral(False)]


def soft_dice(logits: "Tensor", target: "Tensor", *, per_image: bool, smooth: float) -> "Tensor":
    """1 - DICE, DICE = (2 sum yp + s) / (sum y + sum p + s), mean over the sets.

    A set is one channel of one image (`per_image`) or of the batch; the sums are over its pixels.
    Without foreground DICE = s / (sum p + s): 1 where nothing is predicted, and the gradient still
    pushes predictions down. For softmax targets every class counts, the background too. smp's loss
    is another one: it pools the batch, and without foreground it is 0 whatever is predicted.

    Args:
        logits: Floating (N, C, H, W).
        target: Truth of either form.
        per_image: A set per image and channel; otherwise per channel.
        smooth: s > 0, in pixels.
    """
    overlap, sizes = _overlap_and_sizes(logits, target, per_image)
    return (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()


def soft_jaccard(logits: "Tensor", target: "Tensor", *, per_image: bool, smooth: float) -> "Tensor":
    """1 - JACCARD, JACCARD = (sum yp + s) / (sum y + sum p - sum yp + s), mean over the sets.

    Sets, arguments and the empty case are those of `soft_dice`.
    """
    overlap, sizes = _overlap_and_sizes(logits, target, per_image)
    return (1 - (overlap + smooth) / (sizes - overlap + smooth)).mean()


def bce_minus_ln_dice(
    logits_nchw: "Tensor",
    target_nchw: "Tensor",
    *,
    per_image: bool,
    smooth: float,
    label_smoothing: float,
) -> "Tensor":
    """BCE - ln(DICE), with the DICE of `soft_dice`; the logarithm is taken before the mean.

    `smooth` keeps the logarithm finite: with s = 0 a set whose objects are all missed, or that has
    none, would be infinite. Without foreground -ln(DICE) = ln(1 + sum p / s). At s = 1 the largest
    value -ln(DICE) can take on a set of P pixels is ln(1 + P). Labels are smoothed in the BCE only.

    Args:
        logits_nchw: Floating (N, C, H, W).
        target_nchw: 0 or 1 in the type of the logits, (N, C, H, W).
        per_image: A DICE per image and channel; otherwise per channel.
        smooth: s > 0, in pixels.
        label_smoothing: a in 0..1.
    """
    overlap, sizes = _overlap_and_sizes(logits_nchw, target_nchw, per_image)
    minus_ln_dice = (sizes + smooth).log() - (2 * overlap + smooth).log()
    return bce(logits_nchw, target_nchw, label_smoothing=label_smoothing) + minus_ln_dice.mean()


def _overlap_and_sizes(
    logits: "Tensor", target: "Tensor", per_image: bool
) -> "tuple[Tensor, Tensor]":
    """Sum yp, and sum y + sum p, over the pixels of each set: (N, C) per image, else (C,)."""
    if target.ndim == logits.ndim:
        probabilities, truth = logits.sigmoid(), target
    else:
        probabilities, truth = logits.softmax(1), class_masks(target, logits)
    axes = (2, 3) if per_image else (0, 2, 3)
    return (truth * probabilities).sum(axes), truth.sum(axes) + probabilities.sum(axes)


class SoftDice(LossTerm):
    """One minus the soft Dice coefficient."""

    name: Literal["soft_dice"]
    per_image: PerImage
    smooth: Smooth

    answers = SIGMOID | SOFTMAX
    loss = staticmethod(soft_dice)


class SoftJaccard(LossTerm):
    """One minus the soft Jaccard coefficient."""

    name: Literal["soft_jaccard"]
    per_image: PerImage
    smooth: Smooth

    answers = SIGMOID | SOFTMAX
    loss = staticmethod(soft_jaccard)


class BceMinusLnDice(LossTerm):
    """BCE - ln(Dice); `label_smoothing` is that of the BCE."""

    name: Literal["bce_minus_ln_dice"]
    per_image: PerImage
    smooth: Smooth
    label_smoothing: LabelSmoothing

    answers = SIGMOID
    loss = staticmethod(bce_minus_ln_dice)
