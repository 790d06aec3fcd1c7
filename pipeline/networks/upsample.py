"""The ways up: five methods that make a map of features larger.

Nearest, bilinear, bed of nails and max-unpooling put the values they are given somewhere and have
nothing to learn; the transposed convolution learns what to put. `Upsample` gives all of them the
same face, so that a decoder can change one for another.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own habit

Upsampling = Literal["nearest", "bilinear", "bed_of_nails", "max_unpool", "transposed"]
UpsamplingWithoutIndices = Literal["nearest", "bilinear", "bed_of_nails", "transposed"]
"""For decoders that no pooling has as many channels as."""


def nearest(x_nchw: Tensor, factor: int) -> Tensor:
    """Repeat each value in a square of `factor` x `factor`."""
    return F.interpolate(x_nchw, scale_factor=factor, mode="nearest")


def bilinear(x_nchw: Tensor, factor: int) -> Tensor:
    """Interpolate between the centres of the pixels; beyond the outermost centres, repeat."""
    return F.interpolate(x_nchw, scale_factor=factor, mode="bilinear", align_corners=False)


def bed_of_nails(x_nchw: Tensor, factor: int) -> Tensor:
    """Put each value into the upper left corner of a square of zeros."""
    n, c, h, w = x_nchw.shape
    nails = F.pad(x_nchw.reshape(n, c, h, 1, w, 1), (0, factor - 1, 0, 0, 0, factor - 1))
    return nails.reshape(n, c, h * factor, w * factor)


def max_unpool(x_nchw: Tensor, indices_nchw: Tensor) -> Tensor:
    """Put each value where the maximum was that a 2x2 max-pooling kept, zeros elsewhere.

    Args:
        x_nchw: (N, C, H, W).
        indices_nchw: (N, C, H, W), from `max_pool2d(..., 2, return_indices=True)`.

    Returns:
        (N, C, 2H, 2W).
    """
    return F.max_unpool2d(x_nchw, indices_nchw, [2, 2])


def bilinear_kernel(size_px: int) -> Tensor:
    """Return the (size, size) kernel with which a transposed convolution interpolates bilinearly.

    Source: Long et al. 2015, whose upsampling starts from it.
    """
    middle = (size_px - 1) / 2
    slope = 1 - (torch.arange(size_px) - middle).abs() / ((size_px + 1) // 2)
    return slope[:, None] * slope[None, :]


_ENLARGED = {"nearest": nearest, "bilinear": bilinear, "bed_of_nails": bed_of_nails}


class Upsample(nn.Module):
    """Enlarge by `factor`, and go from `in_channels` to `out_channels`.

    `transposed` is one transposed convolution, which does both. The other methods have nothing to
    learn and a 3x3 convolution follows them, where the number of channels changes. Max-unpooling
    needs as many channels as were pooled; a 1x1 convolution brings them about where they differ.

    Args:
        kind: How.
        in_channels: Of what enters.
        out_channels: Of what leaves. If the same, a transposed convolution starts as bilinear
            interpolation.
        factor: How many times larger; 2 for max_unpool.
        kernel_px: Of the transposed convolution; None for twice the factor.
        pooled_channels: Channels of the indices for max_unpool.
    """

    def __init__(
        self,
        kind: Upsampling,
        in_channels: int,
        out_channels: int,
        *,
        factor: int = 2,
        kernel_px: int | None = None,
        pooled_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.factor = kind, factor
        self.before: nn.Module = nn.Identity()
        self.after: nn.Module = nn.Identity()
        if kind == "transposed":
            self.after = _transposed(in_channels, out_channels, factor, kernel_px or 2 * factor)
            return
        if kind == "max_unpool":
            if factor != 2 or pooled_channels is None:
                raise ValueError("max_unpool enlarges by 2, with the indices of a pooling.")
            if pooled_channels != in_channels:
                self.before = nn.Conv2d(in_channels, pooled_channels, 1)
                in_channels = pooled_channels
        if in_channels != out_channels:
            self.after = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x_nchw: Tensor, indices_nchw: Tensor | None = None) -> Tensor:
        """Enlarge (N, in_channels, H, W) to (N, out_channels, H * factor, W * factor).

        Args:
            x_nchw: Features.
            indices_nchw: (N, pooled_channels, H, W), which max_unpool needs and nobody else reads.
        """
        x_nchw = self.before(x_nchw)
        if self.kind in _ENLARGED:
            x_nchw = _ENLARGED[self.kind](x_nchw, self.factor)
        elif self.kind == "max_unpool":
            assert indices_nchw is not None, "max_unpool was called without indices"
            x_nchw = max_unpool(x_nchw, indices_nchw)
        enlarged: Tensor = self.after(x_nchw)
        return enlarged


def _transposed(
    in_channels: int, out_channels: int, factor: int, kernel_px: int
) -> nn.ConvTranspose2d:
    """Return the transposed convolution that enlarges exactly `factor` times."""
    padding = (kernel_px - factor + 1) // 2
    layer = nn.ConvTranspose2d(
        in_channels,
        out_channels,
        kernel_px,
        stride=factor,
        padding=padding,
        output_padding=factor + 2 * padding - kernel_px,
    )
    if in_channels == out_channels and kernel_px == 2 * factor:
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[range(in_channels), range(in_channels)] = bilinear_kernel(kernel_px)
            if layer.bias is not None:
                layer.bias.zero_()
    return layer
