"""VGG as the encoder of FCN, SegNet and TernausNet: features, pools and where the maxima were.

smp's VGG encoder, and with it the official layout of the weights, is kept as it is; only the way
through it is walked here, since smp returns neither pools nor indices.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

VGGS = ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
"""smp's names; `_bn` is with batch normalisation."""
STRIDE_PX = 32

POOL_WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the five pools, in every VGG."""


class VggPass(NamedTuple):
    """What a VGG makes of a batch, stage by stage, finest first.

    Attributes:
        before_pool: Features at strides 1, 2, 4, 8, 16.
        pooled: The same after pooling, at strides 2, 4, 8, 16, 32.
        indices: Where each maximum was, for max-unpooling; empty if not asked for.
    """

    before_pool: list[Tensor]
    pooled: list[Tensor]
    indices: list[Tensor]


def walk(encoder: nn.Module, x_nchw: Tensor, *, with_indices: bool = False) -> VggPass:
    """Run (N, 3, H, W), both multiples of 32, through a VGG's five stages."""
    result = VggPass([], [], [])
    for layer in _layers(encoder):
        if not isinstance(layer, nn.MaxPool2d):
            x_nchw = layer(x_nchw)
            continue
        result.before_pool.append(x_nchw)
        if with_indices:
            x_nchw, indices_nchw = F.max_pool2d(x_nchw, 2, return_indices=True)
            result.indices.append(indices_nchw)
        else:
            x_nchw = layer(x_nchw)
        result.pooled.append(x_nchw)
    return result


def convolutions_per_stage(encoder: nn.Module) -> list[int]:
    """Return how many convolutions each of the five stages has, such as 2, 2, 3, 3, 3."""
    counts = [0]
    for layer in _layers(encoder):
        counts[-1] += isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.MaxPool2d):
            counts.append(0)
    return counts[:-1]


def _layers(encoder: nn.Module) -> nn.Sequential:
    features = encoder.features
    assert isinstance(features, nn.Sequential)
    return features
