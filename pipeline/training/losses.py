"""The losses a configuration may combine: logits and truth enter, a scalar to minimise leaves.

Every loss takes logits, never probabilities, and computes in float32 (float64 if given that), also
under autocast or from half precision. The form of the truth says what kind of problem it is:
(N, C, H, W) of 0 and 1 for a sigmoid per channel, int64 (N, H, W) for a softmax over the channels.
"""

import math
from collections.abc import Callable, Sequence

import pipeline.networks  # noqa: F401  (makes smp importable beside a CPU-only torch)

# isort: split
import torch
from segmentation_models_pytorch.losses import SoftBCEWithLogitsLoss, SoftCrossEntropyLoss
from torch import nn
from torch.nn import functional

from pipeline.config.losses import SIGMOID_ONLY, SOFTMAX_ONLY, LossTerm
from pipeline.errors import ConfigError
from pipeline.training.lovasz import class_masks, lovasz_hinge, lovasz_softmax

__all__ = [
    "WeightedSum",
    "bce",
    "bce_minus_ln_dice",
    "build_loss",
    "cross_entropy",
    "focal",
    "soft_dice",
    "soft_jaccard",
]

LossFunction = Callable[..., torch.Tensor]


def bce(
    logits_nchw: torch.Tensor, target_nchw: torch.Tensor, *, label_smoothing: float
) -> torch.Tensor:
    """Binary cross-entropy, mean over pixels and channels: smp's.

    Smoothing replaces y by y(1 - a) + a/K with K = 2, the two answers a pixel can have: 1 - a/2 in
    the foreground, a/2 in the background. smp's factor is that a/2.

    Args:
        logits_nchw: Floating (N, C, H, W).
        target_nchw: 0 or 1 in the type of the logits, (N, C, H, W).
        label_smoothing: a in 0..1.
    """
    loss = SoftBCEWithLogitsLoss(smooth_factor=label_smoothing / 2, ignore_index=None)
    value: torch.Tensor = loss(logits_nchw, target_nchw)
    return value


def cross_entropy(
    logits_nkhw: torch.Tensor, target_nhw: torch.Tensor, *, label_smoothing: float
) -> torch.Tensor:
    """Categorical cross-entropy -sum_k y_k ln p_k, mean over pixels: smp's.

    Smoothing replaces y_k by y_k(1 - a) + a/K.

    Args:
        logits_nkhw: Floating (N, K, H, W).
        target_nhw: int64 (N, H, W), 0..K-1.
        label_smoothing: a in 0..1.
    """
    loss = SoftCrossEntropyLoss(smooth_factor=label_smoothing, ignore_index=None)
    value: torch.Tensor = loss(logits_nkhw, target_nhw)
    return value


def soft_dice(
    logits: torch.Tensor, target: torch.Tensor, *, per_image: bool, smooth: float
) -> torch.Tensor:
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
    return torch.mean(1 - (2 * overlap + smooth) / (sizes + smooth))


def soft_jaccard(
    logits: torch.Tensor, target: torch.Tensor, *, per_image: bool, smooth: float
) -> torch.Tensor:
    """1 - JACCARD, JACCARD = (sum yp + s) / (sum y + sum p - sum yp + s), mean over the sets.

    Sets, arguments and the empty case are those of `soft_dice`.
    """
    overlap, sizes = _overlap_and_sizes(logits, target, per_image)
    return torch.mean(1 - (overlap + smooth) / (sizes - overlap + smooth))


def bce_minus_ln_dice(
    logits_nchw: torch.Tensor,
    target_nchw: torch.Tensor,
    *,
    per_image: bool,
    smooth: float,
    label_smoothing: float,
) -> torch.Tensor:
    """BCE - ln(DICE), with the DICE of `soft_dice`; the logarithm is taken before the mean.

    `smooth` keeps the logarithm finite: with s = 0 a set whose ships are all missed, or that has
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
    minus_ln_dice = torch.log(sizes + smooth) - torch.log(2 * overlap + smooth)
    return bce(logits_nchw, target_nchw, label_smoothing=label_smoothing) + minus_ln_dice.mean()


def focal(
    logits: torch.Tensor, target: torch.Tensor, *, alpha: float | None, gamma: float
) -> torch.Tensor:
    """Focal loss -w (1 - p_t)^gamma ln(p_t), mean over pixels and channels.

    p_t is the probability of the true answer. With a sigmoid, w is alpha in the foreground and
    1 - alpha in the background, as in the paper; with a softmax, which has no two sides, w = alpha
    everywhere. `alpha` None is w = 1. 1 - p_t is taken through its logarithm: at saturated pixels
    a power of the rounded difference has infinite slope for gamma < 1, and training would meet NaN.

    Args:
        logits: Floating (N, C, H, W).
        target: Truth of either form.
        alpha: Weight in 0..1, or None.
        gamma: At least 0; 0 is plain cross-entropy.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equations 4 and 5.
    """
    weight: torch.Tensor | float
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
    return (-weight * torch.exp(gamma * ln_rest) * ln_p).mean()


class WeightedSum(nn.Module):
    """Terms of a configuration, each times its weight, as one loss.

    Called with logits (N, C, H, W) and truth: 0 and 1 of any type (N, C, H, W), or int64
    (N, H, W). That the values of the truth are legal is not looked at: it would make every step
    wait for the device.
    """

    def __init__(self, terms: Sequence[LossTerm]) -> None:
        super().__init__()
        names = [term.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ConfigError(
                f"loss: expected one or more different terms, got {names}. List each term once, "
                "and raise its weight instead."
            )
        self.terms = list(terms)

    def forward(
        self, logits_nchw: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the weighted sum, and each term by name, unweighted and detached.

        Raises:
            ValueError: Shapes or types do not fit each other or a term.
        """
        logits = logits_nchw if logits_nchw.dtype == torch.float64 else logits_nchw.float()
        with torch.autocast(logits.device.type, enabled=False):
            values: dict[str, torch.Tensor] = {}
            total = logits.new_zeros(())
            for term in self.terms:
                truth = _checked(logits, target, term.name)
                settings = term.model_dump(exclude={"name", "weight"})
                value = _FUNCTIONS[term.name](logits, truth, **settings)
                total = total + term.weight * value
                values[term.name] = value.detach()
        return total, values


def build_loss(terms: Sequence[LossTerm]) -> WeightedSum:
    """Build the loss that a configuration's list of terms describes.

    Raises:
        ConfigError: No term, or one name twice.
    """
    return WeightedSum(terms)


_FUNCTIONS: dict[str, LossFunction] = {
    "bce": bce,
    "bce_minus_ln_dice": bce_minus_ln_dice,
    "cross_entropy": cross_entropy,
    "focal": focal,
    "lovasz_hinge": lovasz_hinge,
    "lovasz_softmax": lovasz_softmax,
    "soft_dice": soft_dice,
    "soft_jaccard": soft_jaccard,
}


def _overlap_and_sizes(
    logits: torch.Tensor, target: torch.Tensor, per_image: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum yp, and sum y + sum p, over the pixels of each set: (N, C) per image, else (C,)."""
    if target.ndim == logits.ndim:
        probabilities, truth = logits.sigmoid(), target
    else:
        probabilities, truth = logits.softmax(1), class_masks(target, logits)
    axes = (2, 3) if per_image else (0, 2, 3)
    return (truth * probabilities).sum(axes), truth.sum(axes) + probabilities.sum(axes)


def _checked(logits_nchw: torch.Tensor, target: torch.Tensor, name: str) -> torch.Tensor:
    """Return the truth in the type the loss computes with, or say why it cannot."""
    shape = logits_nchw.shape
    if len(shape) == 4 and logits_nchw.numel() > 0:
        if target.shape == shape and name not in SOFTMAX_ONLY:
            return target.to(logits_nchw.dtype)
        is_index = target.dtype == torch.int64 and target.shape == (shape[0], *shape[2:])
        if is_index and shape[1] > 1 and name not in SIGMOID_ONLY:
            return target
    forms = {
        "0/1 of the logits' shape": name not in SOFTMAX_ONLY,
        "int64 class indices (N, H, W) with at least two logit channels": name not in SIGMOID_ONLY,
    }
    raise ValueError(
        f"{name}: expected logits (N, C, H, W) and targets of "
        f"{' or '.join(form for form, allowed in forms.items() if allowed)}, got logits "
        f"{tuple(shape)} and {target.dtype} targets {tuple(target.shape)}."
    )
