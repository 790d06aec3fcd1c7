"""What our own networks share: logits of the pixels and, if wanted, one logit of the image.

Both come from one pass, the image's from the deepest features. smp's networks have the same form.
"""

from torch import Tensor, nn


class TwoHeaded(nn.Module):
    """A network that implements `segment`.

    Attributes:
        stride_px: Height and width of what enters must be multiples of it.
        deep_channels: Channels of the deepest features.
        image_head: Features (N, deep_channels, h, w) -> (N, 1), or None.
    """

    stride_px: int
    deep_channels: int

    def __init__(self) -> None:
        super().__init__()
        self.image_head: nn.Module | None = None

    def segment(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, C, H, W) and the deepest features (N, deep_channels, h, w).

        Args:
            x_nchw: (N, 3, H, W), normalised, H and W multiples of `stride_px`.
        """
        raise NotImplementedError

    def take_classifier(self, state: dict[str, Tensor]) -> list[str]:
        """Start layers of its own from the classifier of an encoder's official file, if it can.

        Args:
            state: The file's tensors.

        Returns:
            The names that were used.
        """
        del state
        return []

    def forward(self, x_nchw: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits (N, C, H, W), with an image head also logits (N, 1)."""
        logits_nchw, deep_nchw = self.segment(x_nchw)
        if self.image_head is None:
            return logits_nchw
        return logits_nchw, self.image_head(deep_nchw)
