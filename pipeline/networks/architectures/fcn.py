"""FCN: a classifier made fully convolutional, its scores brought back to the pixels.

VGG's two hidden fully connected layers become a 7x7 and a 1x1 convolution. Scores at stride 32 are
enlarged 32 times (FCN-32s), or first summed with scores of pool 4 (16s) and of pool 3 (8s).

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015.
The paper pads its images by 100 pixels and crops the scores; here the 7x7 convolution is padded, so
that every stage lies on its pixels without cropping.
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pipeline.config.architectures import Architecture, Dropout, Width
from pipeline.config.extensions import keyword_types
from pipeline.networks.encoders import build_encoder
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.upsample import Upsample, UpsamplingWithoutIndices
from pipeline.networks.vgg import POOL_WIDTHS, STRIDE_PX, VGGS, walk


class Fcn(TwoHeaded):
    """Fully convolutional VGG.

    Args:
        encoder: One of `VGGS`.
        channels: Output channels.
        stride: 32, 16 or 8: of the finest scores that are summed.
        upsample: How scores are enlarged; `transposed` starts as bilinear interpolation.
        fc_channels: Width of the two convolutions that stand for the hidden layers; 4096 in VGG.
        dropout: After each of them.
    """

    def __init__(
        self,
        encoder: str,
        channels: int,
        stride: int,
        *,
        upsample: UpsamplingWithoutIndices = "transposed",
        fc_channels: Width = 4096,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.stride_px, self.deep_channels = STRIDE_PX, fc_channels
        self.encoder = build_encoder(encoder)
        self.fc6 = nn.Conv2d(POOL_WIDTHS[4], fc_channels, 7, padding=3)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.scores = nn.ModuleList([nn.Conv2d(fc_channels, channels, 1)])
        self.ups = nn.ModuleList()
        if stride <= 16:
            self.scores.append(nn.Conv2d(POOL_WIDTHS[3], channels, 1))
            self.ups.append(Upsample(upsample, channels, channels))
        if stride <= 8:
            self.scores.append(nn.Conv2d(POOL_WIDTHS[2], channels, 1))
            self.ups.append(Upsample(upsample, channels, channels))
        self.ups.append(Upsample(upsample, channels, channels, factor=stride))

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, channels, H, W) and the deepest features (N, fc_channels, h, w)."""
        pooled = walk(self.encoder, x_nchw).pooled
        deep = self.dropout(F.relu(self.fc6(pooled[4])))
        deep = self.dropout(F.relu(self.fc7(deep)))
        total = self.scores[0](deep)
        for score, up, pool in zip(self.scores[1:], self.ups, pooled[3:1:-1], strict=False):
            total = up(total) + score(pool)
        return self.ups[-1](total), deep

    def take_classifier(self, state: dict[str, Tensor]) -> list[str]:
        """Turn the hidden layers of an official VGG file into `fc6` and `fc7`.

        Args:
            state: The file's tensors.

        Returns:
            The names that were used; none where the file has no classifier or this network
            another width.
        """
        names = [f"classifier.{i}.{kind}" for i in (0, 3) for kind in ("weight", "bias")]
        targets = [self.fc6.weight, self.fc6.bias, self.fc7.weight, self.fc7.bias]
        fits = all(
            name in state and target is not None and state[name].numel() == target.numel()
            for name, target in zip(names, targets, strict=True)
        )
        if not fits:
            return []
        for name, target in zip(names, targets, strict=True):
            assert target is not None
            target.data.copy_(state[name].reshape(target.shape))
        return names


ARCHITECTURES = {
    f"fcn{stride}s": Architecture(
        "Long 2015", keyword_types(Fcn), VGGS, shown_with="vgg16", build=partial(Fcn, stride=stride)
    )
    for stride in (32, 16, 8)
}
