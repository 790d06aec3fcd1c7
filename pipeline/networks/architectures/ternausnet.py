"""TernausNet: a U-Net whose way down is a VGG that ImageNet has already taught.

Source: Iglovikov, Shvets, "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image
Segmentation", arXiv:1801.05746, 2018, and the wider VGG16 variant of its authors.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pipeline.config.architectures import Architecture, Width
from pipeline.config.extensions import keyword_types
from pipeline.networks.encoders import build_encoder
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.upsample import Upsample, Upsampling
from pipeline.networks.vgg import POOL_WIDTHS, STRIDE_PX, walk

_MIDDLE = (16, 16, 16, 8, 4)
_OUT = {11: (8, 8, 4, 2, 1), 16: (8, 8, 8, 2, 1)}
_KERNEL_PX = {11: 3, 16: 4}


class TernausNet(TwoHeaded):
    """U-Net on VGG11 or VGG16.

    A level of the decoder is a convolution and an enlargement; what it makes is joined with the
    encoder's features of that size, taken before they are pooled.

    Args:
        encoder: vgg11 or vgg16, with or without batch normalisation (`_bn`).
        channels: Output channels.
        layers: 11 or 16, which also chooses the decoder's widths and kernels.
        width: The decoder's unit of width; 32 in the paper.
        upsample: `transposed` in the paper.
    """

    def __init__(
        self,
        encoder: str,
        channels: int,
        layers: int,
        *,
        width: Width = 32,
        upsample: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.stride_px, self.deep_channels = STRIDE_PX, POOL_WIDTHS[-1]
        self.encoder = build_encoder(encoder)
        self.indices = upsample == "max_unpool"
        self.middles, self.ups = nn.ModuleList(), nn.ModuleList()
        in_channels = POOL_WIDTHS[-1]
        for pooled, middle, out in zip(POOL_WIDTHS[::-1], _MIDDLE, _OUT[layers], strict=True):
            self.middles.append(nn.Conv2d(in_channels, middle * width, 3, padding=1))
            self.ups.append(
                Upsample(
                    upsample,
                    middle * width,
                    out * width,
                    kernel_px=_KERNEL_PX[layers],
                    pooled_channels=pooled,
                )
            )
            in_channels = out * width + pooled
        self.last = nn.Conv2d(in_channels, width, 3, padding=1)
        self.head = nn.Conv2d(width, channels, 1)

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, channels, H, W) and the deepest features (N, 512, H/32, W/32)."""
        passed = walk(self.encoder, x_nchw, with_indices=self.indices)
        x_nchw = deep = passed.pooled[-1]
        for level, (middle, up) in enumerate(zip(self.middles, self.ups, strict=True), 1):
            where = passed.indices[-level] if self.indices else None
            enlarged = F.relu(up(F.relu(middle(x_nchw)), where))
            x_nchw = torch.cat([enlarged, passed.before_pool[-level]], dim=1)
        return self.head(F.relu(self.last(x_nchw))), deep


ARCHITECTURES = {
    f"ternausnet{layers}": Architecture(
        "Iglovikov 2018",
        keyword_types(TernausNet),
        (f"vgg{layers}", f"vgg{layers}_bn"),
        build=partial(TernausNet, layers=layers),
    )
    for layers in (11, 16)
}
