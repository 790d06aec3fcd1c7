"""U-Net with a feature pyramid at its end: every level of the decoder has a say in the pixels.

A plain U-Net hands only its finest level to the head. Here each level's features are projected to
the same width, enlarged to full size and joined, so that the head sees coarse context and fine
edges side by side.

Source: the decoder of Ronneberger et al. 2015, the merging of Lin et al., "Feature Pyramid Networks
for Object Detection", CVPR 2017, with concatenation in the place of the sum.
"""

import torch
from torch import Tensor, nn

from pipeline.config.architectures import Architecture, Depth, Width, Widths
from pipeline.config.extensions import keyword_types
from pipeline.networks.encoders import build_encoder
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.upsample import Upsample, UpsamplingWithoutIndices, bilinear

_WIDTHS = (256, 128, 64, 32, 16)


class UnetFpn(TwoHeaded):
    """U-Net + FPN on any of smp's encoders.

    Args:
        encoder: Any of smp's.
        channels: Output channels.
        encoder_depth: How often the encoder halves the image, D.
        img_size: Side of the images, px, to make an encoder of one size for; None for its own.
        decoder_channels: D widths, coarsest first; None for the last D of 256, 128, 64, 32, 16.
        merge_channels: Width that each level is projected to.
        upsample: How the decoder doubles its size. The last enlargement of each level to full size
            is bilinear.
    """

    def __init__(
        self,
        encoder: str,
        channels: int,
        *,
        encoder_depth: Depth = 5,
        img_size: Width | None = None,
        decoder_channels: Widths | None = None,
        merge_channels: Width = 16,
        upsample: UpsamplingWithoutIndices = "nearest",
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, encoder_depth, img_size)
        widths: list[int] = list(self.encoder.out_channels)  # type: ignore[arg-type]
        self.stride_px, self.deep_channels = 2**encoder_depth, widths[-1]
        outs = list(decoder_channels or _WIDTHS[-encoder_depth:])
        if len(outs) != encoder_depth:
            raise ValueError(f"decoder_channels has {len(outs)} widths, expected {encoder_depth}")
        skips = [*widths[1:-1][::-1], 0]
        self.ups, self.joins = nn.ModuleList(), nn.ModuleList()
        for coarse, skip, out in zip([widths[-1], *outs], skips, outs, strict=False):
            self.ups.append(Upsample(upsample, coarse, coarse))
            self.joins.append(nn.Sequential(_block(coarse + skip, out), _block(out, out)))
        self.merges = nn.ModuleList(nn.Conv2d(out, merge_channels, 1) for out in outs)
        self.head = nn.Conv2d(encoder_depth * merge_channels, channels, 3, padding=1)

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, channels, H, W) and the encoder's deepest features."""
        features = self.encoder(x_nchw)
        x_nchw = deep = features[-1]
        skips = [*features[1:-1][::-1], None]
        levels: list[Tensor] = []
        for up, join, merge, skip in zip(self.ups, self.joins, self.merges, skips, strict=True):
            x_nchw = up(x_nchw)
            x_nchw = join(x_nchw if skip is None else torch.cat([x_nchw, skip], dim=1))
            levels.append(merge(x_nchw))
        full = [bilinear(m, 2 ** (len(levels) - 1 - i)) for i, m in enumerate(levels[:-1])]
        return self.head(torch.cat([*full, levels[-1]], dim=1)), deep


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


ARCHITECTURES = {
    "unet_fpn": Architecture("Ronneberger 2015 + Lin 2017", keyword_types(UnetFpn), build=UnetFpn)
}
