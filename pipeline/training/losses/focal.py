"""Focal loss: cross-entropy that dwells on what is not yet right.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equations 4 and 5.
"""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.config.earlier import Neutral
from pipeline.config.fields import SIGMOID, SOFTMAX, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


def focal(logits: "Tensor", target: "Tensor", *, alpha: float | None, gamma: float) -> "Tensor":
    """Compute -w (1 - p_t)^gamma ln(p_t), mean over pixels and channels.

    p_t is the probability of the true answer. With a sigmoid, w is alpha in the foreground and
    1 - alpha in the background, as in the paper; with a softmax, which has no two sides, w = alpha
    everywhere. `alpha` None is w = 1. 1 - p_t is taken through its logarithm: at saturated pixels
    a power of the rounded difference has infinite slope for gamma < 1, and training would meet NaN.

    Args:
        logits: Floating (N, C, H, W).
        target: Truth of either form.
        alpha: Weight in 0..1, or None.
        gamma: At least 0; 0 is plain cross-entropy.
    """
    from torch.nn import functional

    weight: Tensor | float
    if target.ndim == logits.ndim:
        signed = logits * (2 * target - 1)
        ln_p = functional.logsigmoid(signed)
        ln_rest = functional.logsigmoid(-signed)
        weight = 1.0 if alpha is None else (1 - alpha) + (2 * alpha - 1) * target
    else:
        index = target.unsqueeze(1)
        ln_all = logits.logsumexp(1, keepdim=True)
        ln_p = logits.gather(1, index) - ln_all
        ln_rest = logits.scatter(1, index, -math.inf).logsumexp(1, keepdim=True) - ln_all
        weight = 1.0 if alpha is None else alpha
    return (-weight * (gamma * ln_rest).exp() * ln_p).mean()


class Focal(LossTerm):
    """Cross-entropy scaled by (1 - p_t)^gamma; `alpha: null` leaves the classes unweighted."""

    name: Literal["focal"]
    alpha: Annotated[float | None, Field(gt=0, lt=1), Neutral(None)]
    gamma: Annotated[float, Field(ge=0), Neutral(0.0)]

    answers = SIGMOID | SOFTMAX
    loss = staticmethod(focal)
