"""U-Net as it was first drawn: two convolutions a level, halved going down, doubled going up.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015. Its convolutions are not padded, so that its output is smaller than its
input; here they are padded, which changes no parameter. Batch normalisation came later: an option.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pipeline.config.architectures import Architecture, Width
from pipeline.config.extensions import keyword_types
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.upsample import Upsample, Upsampling


class UnetOriginal(TwoHeaded):
    """Ronneberger's U-Net.

    Args:
        channels: Output channels.
        width: Channels of the first level; each level doubles them.
        depth: How often the image is halved.
        upsample: `transposed` (2x2, stride 2) in the paper.
        batch_norm: Whether to normalise after each convolution.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: Width = 64,
        depth: Annotated[int, Field(ge=1, le=6)] = 4,
        upsample: Upsampling = "transposed",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.stride_px, self.deep_channels = 2**depth, width * 2**depth
        self.indices = upsample == "max_unpool"
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _pair(a, b, batch_norm) for a, b in zip([3, *widths], widths, strict=False)
        )
        self.ups, self.joins = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            fine, coarse = widths[level], widths[level + 1]
            self.ups.append(Upsample(upsample, coarse, fine, kernel_px=2, pooled_channels=fine))
            self.joins.append(_pair(2 * fine, fine, batch_norm))
        self.head = nn.Conv2d(width, channels, 1)

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, channels, H, W) and the deepest features (N, width * 2^depth, h, w)."""
        skips, indices = [], []
        for level in self.down[:-1]:
            skips.append(level(x_nchw))
            if self.indices:
                x_nchw, where = F.max_pool2d(skips[-1], 2, return_indices=True)
                indices.append(where)
            else:
                x_nchw = F.max_pool2d(skips[-1], 2)
        x_nchw = deep = self.down[-1](x_nchw)
        for up, join in zip(self.ups, self.joins, strict=True):
            enlarged = up(x_nchw, indices.pop() if self.indices else None)
            x_nchw = join(torch.cat([skips.pop(), enlarged], dim=1))
        return self.head(x_nchw), deep


def _pair(in_channels: int, out_channels: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


ARCHITECTURES = {
    "unet_original": Architecture(
        "Ronneberger 2015", keyword_types(UnetOriginal), encoders=(), build=UnetOriginal
    )
}
