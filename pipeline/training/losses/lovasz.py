"""Lovász hinge and Lovász-Softmax for a whole batch at once.

Logits and truth enter; the mean over the sets (images, or the batch; times channels or classes) of
the Lovász extension of the Jaccard loss leaves. Every set is a row of one matrix: one sort and one
cumulative sum serve the batch, and nothing waits for the device.

Source: Berman, Rannen Triki, Blaschko, "The Lovász-Softmax loss", CVPR 2018, equations 6-12.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pipeline.config.earlier import Neutral
from pipeline.config.fields import SIGMOID, SOFTMAX, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


def lovasz_hinge(
    logits_nchw: "Tensor",
    target_nchw: "Tensor",
    *,
    per_image: bool,
    margin: Literal["relu", "elu"],
    symmetric: bool,
    empty: Literal["skip", "background", "keep"],
) -> "Tensor":
    """Lovász extension of the Jaccard loss at the hinge errors 1 - z(2y - 1), a scalar.

    A set is one channel of one image, or of the batch. Truth without foreground is a set on which
    the extension is the single largest error: the whole gradient falls on one pixel, and training
    can collapse. Hence `empty`:

    - `skip`: such sets are left out of the mean; with no other set the loss is 0, its gradient too.
      They teach nothing then, so another term has to keep the background empty.
    - `background`: such a set gets the Lovász hinge of its background, which, the background being
      all of it, is the mean over its pixels of the positive parts of the errors.
    - `keep`: the extension as it stands.

    Args:
        logits_nchw: float32 or float64 (N, C, H, W), any range.
        target_nchw: 0 or 1 in the type of the logits, (N, C, H, W).
        per_image: A set per image and channel; otherwise a set per channel.
        margin: Positive part of an error: `relu`, or `elu`, ELU + 1, which stays above zero so that
            pixels classified well keep some gradient.
        symmetric: Mean of this loss and of the same for the background, (-z, 1 - y). `empty` then
            applies to each of the two: truth without background is empty for the second.
        empty: What a set without foreground does.
    """
    logits, target = _rows(logits_nchw, per_image), _rows(target_nchw, per_image)
    loss = _hinge_rows(logits, target, margin, empty)
    if symmetric:
        loss = (loss + _hinge_rows(-logits, 1 - target, margin, empty)) / 2
    return loss


def lovasz_softmax(
    logits_nkhw: "Tensor",
    target_nhw: "Tensor",
    *,
    classes: Literal["present", "all"],
    per_image: bool,
) -> "Tensor":
    """Lovász extension of each class's Jaccard loss at the errors |y_k - p_k|, a scalar.

    Mean over classes, then over images (`per_image`; otherwise the batch is one image). A class
    without a pixel in an image is left out of that image's mean (`classes: present`; some class is
    always there), or adds its single largest error (`all`).

    Args:
        logits_nkhw: float32 or float64 (N, K, H, W), any range.
        target_nhw: int64 (N, H, W), 0..K-1.
        classes: Which classes an image's mean is over.
        per_image: A mean per image; otherwise one for the batch.
    """
    classes_count = logits_nkhw.shape[1]
    probabilities = _rows(logits_nkhw.softmax(1), per_image)
    truth = _rows(class_masks(target_nhw, logits_nkhw), per_image)
    loss = lovasz_extension((truth - probabilities).abs(), truth).view(-1, classes_count)
    if classes == "all":
        return loss.mean()
    present = truth.amax(1).view(-1, classes_count)
    return ((loss * present).sum(1) / present.sum(1)).mean()


def lovasz_extension(errors_sp: "Tensor", truth_sp: "Tensor") -> "Tensor":
    """Lovász extension of the Jaccard loss, one value per set.

    With the errors in descending order m_1 >= ... >= m_P it is sum_i m_i (J_i - J_(i-1)), where J_i
    is the Jaccard loss of mistaking exactly the first i pixels: i pixels out of a union of the
    foreground and those of the i that lie in the background. Pixels of equal error may swap without
    a change of the value. Without foreground J_i = 1 for all i >= 1: the value is m_1.

    Args:
        errors_sp: float32 or float64 (S, P), non-negative: P pixels of S sets.
        truth_sp: 0 or 1, same shape and type.

    Returns:
        (S,), differentiable in the errors (a subgradient where errors are equal).

    Source: Berman et al. 2018, equation 9 and algorithm 1.
    """
    import torch

    # Floats that are not negative order as their bits do, and integers sort faster on a CPU (a
    # third less time on 16 x 65,536).
    bits = torch.int64 if errors_sp.dtype == torch.float64 else torch.int32
    order = errors_sp.detach().view(bits).argsort(dim=1, descending=True)
    truth = truth_sp.gather(1, order)
    foreground = truth_sp.sum(1, keepdim=True)
    remaining = truth.cumsum(1).neg_().add_(foreground)
    union = remaining + torch.arange(1, truth.shape[1] + 1, device=truth.device)
    # The step J_i - J_(i-1) in closed form: the difference itself loses half its digits in float32.
    # It is 1/U_i on a foreground pixel, and remaining/(U_i U_(i-1)) on a background pixel.
    steps = remaining.div_((union - 1).clamp_(min=1)).masked_fill_(truth > 0, 1).div_(union)
    steps[:, :1] += foreground == 0
    weights = torch.empty_like(steps).scatter_(1, order, steps)
    return (errors_sp * weights).sum(1)


def class_masks(target_nhw: "Tensor", like_nkhw: "Tensor") -> "Tensor":
    """Masks (N, K, H, W) of 0 and 1, one per class, in the type of `like_nkhw`."""
    import torch

    classes = torch.arange(like_nkhw.shape[1], device=target_nhw.device)
    return (target_nhw[:, None] == classes[:, None, None]).to(like_nkhw.dtype)


def _hinge_rows(logits_sp: "Tensor", truth_sp: "Tensor", margin: str, empty: str) -> "Tensor":
    import torch
    from torch.nn import functional

    errors = torch.addcmul(logits_sp.new_ones(()), logits_sp, 1 - 2 * truth_sp)
    errors = functional.relu(errors) if margin == "relu" else functional.elu(errors) + 1
    loss = lovasz_extension(errors, truth_sp)
    if empty == "keep":
        return loss.mean()
    filled = truth_sp.amax(1) > 0
    if empty == "background":
        return torch.where(filled, loss, errors.mean(1)).mean()
    return (loss * filled).sum() / filled.sum().clamp(min=1)


def _rows(values_nchw: "Tensor", per_image: bool) -> "Tensor":
    """Lay out the sets as rows: (N*C, H*W) per image, (C, N*H*W) for the batch."""
    if per_image:
        return values_nchw.flatten(2).flatten(0, 1)
    return values_nchw.transpose(0, 1).flatten(1)


class LovaszHinge(LossTerm):
    """Lovász extension of the Jaccard loss on hinge margins; `empty` says what empty truth does."""

    name: Literal["lovasz_hinge"]
    per_image: Annotated[bool, Neutral(False)]
    margin: Annotated[Literal["relu", "elu"], Neutral("relu")]
    symmetric: Annotated[bool, Neutral(False)]
    empty: Annotated[Literal["skip", "background", "keep"], Neutral("keep")]

    answers = SIGMOID
    loss = staticmethod(lovasz_hinge)


class LovaszSoftmax(LossTerm):
    """Lovász extension of the Jaccard loss on softmax errors, mean over classes."""

    name: Literal["lovasz_softmax"]
    classes: Annotated[Literal["present", "all"], Neutral("all")]
    per_image: Annotated[bool, Neutral(False)]

    answers = SOFTMAX
    loss = staticmethod(lovasz_softmax)
