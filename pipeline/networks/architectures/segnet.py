"""SegNet: VGG's convolutions mirrored, the way up by max-unpooling with the encoder's indices.

Nothing but the indices crosses from the encoder to the decoder.

Source: Badrinarayanan, Kendall, Cipolla, arXiv:1511.00561, 2015.
"""

from torch import Tensor, nn

from pipeline.config.architectures import Architecture
from pipeline.config.extensions import keyword_types
from pipeline.networks.encoders import build_encoder
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.upsample import Upsample, Upsampling
from pipeline.networks.vgg import POOL_WIDTHS, STRIDE_PX, VGGS, convolutions_per_stage, walk


class SegNet(TwoHeaded):
    """SegNet on one of smp's VGG encoders; the paper's is vgg16_bn.

    Args:
        encoder: One of `VGGS`.
        channels: Output channels.
        upsample: `max_unpool` in the paper; any other takes its place.
    """

    def __init__(self, encoder: str, channels: int, *, upsample: Upsampling = "max_unpool") -> None:
        super().__init__()
        self.stride_px, self.deep_channels = STRIDE_PX, POOL_WIDTHS[-1]
        self.encoder = build_encoder(encoder)
        self.indices = upsample == "max_unpool"
        self.ups, self.stages = nn.ModuleList(), nn.ModuleList()
        finer = (POOL_WIDTHS[0], *POOL_WIDTHS[:-1])
        for level, count in reversed(list(enumerate(convolutions_per_stage(self.encoder)))):
            width = POOL_WIDTHS[level]
            self.ups.append(Upsample(upsample, width, width, pooled_channels=width))
            outs = [width] * (count - 1) + [finer[level]]
            if level == 0:
                outs = outs[:-1] or outs  # the head is the mirror of the very first convolution
            self.stages.append(
                nn.Sequential(*[_block(a, b) for a, b in zip([width, *outs], outs, strict=False)])
            )
        self.head = nn.Conv2d(POOL_WIDTHS[0], channels, 3, padding=1)

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, channels, H, W) and the deepest features (N, 512, H/32, W/32)."""
        passed = walk(self.encoder, x_nchw, with_indices=self.indices)
        x_nchw = deep = passed.pooled[-1]
        for level, (up, stage) in enumerate(zip(self.ups, self.stages, strict=True), 1):
            x_nchw = stage(up(x_nchw, passed.indices[-level] if self.indices else None))
        return self.head(x_nchw), deep


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


ARCHITECTURES = {
    "segnet": Architecture(
        "Badrinarayanan 2015", keyword_types(SegNet), VGGS, shown_with="vgg16_bn", build=SegNet
    )
}
