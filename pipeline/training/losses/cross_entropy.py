"""Cross-entropy: binary of every channel, or categorical over the channels; smp's.

Label smoothing replaces y_k by y_k (1 - a) + a / K, K being the answers that a pixel can have.

Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.config.earlier import Neutral
from pipeline.config.fields import SIGMOID, SOFTMAX, LossTerm

if TYPE_CHECKING:
    from torch import Tensor

LabelSmoothing = Annotated[float, Field(ge=0, lt=1), Neutral(0.0)]


def bce(logits_nchw: "Tensor", target_nchw: "Tensor", *, label_smoothing: float) -> "Tensor":
    """Compute the binary cross-entropy, mean over pixels and channels.

    Smoothing replaces y by y(1 - a) + a/K with K = 2, the two answers a pixel can have: 1 - a/2 in
    the foreground, a/2 in the background. smp's factor is that a/2.

    Args:
        logits_nchw: Floating (N, C, H, W).
        target_nchw: 0 or 1 in the type of the logits, (N, C, H, W).
        label_smoothing: a in 0..1.
    """
    import pipeline.networks  # noqa: F401  (makes smp importable beside a CPU-only torch)

    # isort: split
    from segmentation_models_pytorch.losses import SoftBCEWithLogitsLoss

    loss = SoftBCEWithLogitsLoss(smooth_factor=label_smoothing / 2, ignore_index=None)
    value: Tensor = loss(logits_nchw, target_nchw)
    return value


def cross_entropy(
    logits_nkhw: "Tensor", target_nhw: "Tensor", *, label_smoothing: float
) -> "Tensor":
    """Compute the categorical cross-entropy -sum_k y_k ln p_k, mean over pixels.

    Args:
        logits_nkhw: Floating (N, K, H, W).
        target_nhw: int64 (N, H, W), 0..K-1.
        label_smoothing: a in 0..1.
    """
    import pipeline.networks  # noqa: F401  (makes smp importable beside a CPU-only torch)

    # isort: split
    from segmentation_models_pytorch.losses import SoftCrossEntropyLoss

    loss = SoftCrossEntropyLoss(smooth_factor=label_smoothing, ignore_index=None)
    value: Tensor = loss(logits_nkhw, target_nhw)
    return value


class Bce(LossTerm):
    """Binary cross-entropy of every channel, mean over pixels."""

    name: Literal["bce"]
    label_smoothing: LabelSmoothing

    answers = SIGMOID
    loss = staticmethod(bce)


class CrossEntropy(LossTerm):
    """Categorical cross-entropy over the channels, mean over pixels."""

    name: Literal["cross_entropy"]
    label_smoothing: LabelSmoothing

    answers = SOFTMAX
    loss = staticmethod(cross_entropy)
