"""BatchNorm over the whole batch of a group of processes, on CPUs.

torch's SyncBatchNorm is for GPUs alone. Here each process computes mean and variance of its own
images, all of them meet, and the whole batch's follow from them; so do the gradients. As in torch's
own, statistics and arithmetic are float32, whatever the images are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Every kind; timm's are of these."""


class WholeBatchStatistics(TorchFunctionMode):
    """While it is entered, `torch.nn.functional.batch_norm` normalises over the group's images."""

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        if func is functional.batch_norm:
            func = _batch_norm
        return func(*args, **(kwargs or {}))


def _batch_norm(  # noqa: PLR0917  torch's own arguments
    images: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Do what `torch.nn.functional.batch_norm` does, over the group's images (N, C, H, W)."""
    if not training:
        return functional.batch_norm(
            images, running_mean, running_var, weight, bias, momentum=momentum, eps=eps
        )
    dtype, images = images.dtype, images.float()
    axes = [axis for axis in range(images.ndim) if axis != 1]
    every = _gathered(torch.stack([images.mean(axes), images.var(axes, unbiased=False)]))
    means, variances = every.unbind(1)
    mean = means.mean(0)
    variance = variances.mean(0) + means.var(0, unbiased=False)
    if running_mean is not None and running_var is not None:
        count = images.numel() // images.shape[1] * len(every)
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (count / (count - 1)), momentum)
    # Not `functional.batch_norm` with these statistics: they would get no gradients.
    shape = [-1 if axis == 1 else 1 for axis in range(images.ndim)]
    scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    return (images * scale.view(shape) + shift.view(shape)).to(dtype)


def _gathered(own: Tensor) -> Tensor:
    """Return every process's tensor, one behind the other; gradients go back to each."""
    slots = torch.zeros(dist.get_world_size(), *own.shape)
    slots = slots.index_copy(0, torch.tensor([dist.get_rank()]), own.unsqueeze(0))
    whole: Tensor = _Sum.apply(slots)  # type: ignore[no-untyped-call]
    return whole


class _Sum(torch.autograd.Function):
    """The sum over the group; a gradient of it is one of each process's summand."""

    @staticmethod
    def forward(_context: object, own: Tensor) -> Tensor:
        whole = own.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return _Sum.forward(_context, gradient)
