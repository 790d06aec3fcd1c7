"""From a configuration's `network` section to the module that everything else uses.

Images as they are stored enter it (uint8, any size), logits of the same size leave: the wrapper
normalises, pads to the stride and crops back, so nobody else has to.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.config.networks import Network
from pipeline.errors import ArtifactError, ConfigError
from pipeline.networks.bodies import build_body
from pipeline.networks.encoders import made_for_px, mean_and_std
from pipeline.networks.frame import normalise, pad_to_multiple
from pipeline.networks.input_sizes import InputSizes, find_sizes, on_shapes
from pipeline.networks.weights import load_start_weights


class Prediction(NamedTuple):
    """Logits of every pixel and, from a network with an image head, of every image."""

    logits_nchw: Tensor
    image_logits: Tensor | None


class SegmentationNetwork(nn.Module):
    """A network behind the one normalisation and the one pad rule.

    Attributes:
        body: (N, 3, H, W) normalised, H and W multiples of `stride` -> logits (N, C, H, W), or a
            tuple of them and image logits (N, 1).
        stride: In pixels.
        largest_px: Most that height and width may be; None for any.
        channels: C.
        mean_255: What the encoder's weights expect, (3, 1, 1).
        std_255: The same.
    """

    mean_255: Tensor
    std_255: Tensor

    def __init__(
        self, body: nn.Module, sizes: InputSizes, encoder: str | None, channels: int
    ) -> None:
        super().__init__()
        self.body = body
        self.stride, self.largest_px = sizes
        self.channels = channels
        for name, values in zip(("mean_255", "std_255"), mean_and_std(encoder), strict=True):
            values_255 = torch.tensor([255 * value for value in values])
            self.register_buffer(name, values_255.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Prediction:
        """Predict.

        Args:
            images: (N, 3, H, W), uint8 or float, RGB, 0..255, of any height and width.

        Returns:
            Logits (N, C, H, W) and image logits (N,) or None.

        Raises:
            ConfigError: The images are larger than the body takes, or its output is not of those
                channels, or not as large as its input.
        """
        padded = normalise(pad_to_multiple(images, self.stride), self.mean_255, self.std_255)
        if self.largest_px is not None and max(padded.shape[2:]) > self.largest_px:
            raise ConfigError(
                f"network.encoder: expected images of at most {self.largest_px} x "
                f"{self.largest_px} px, for which it is made, got {tuple(images.shape[2:])}. Set "
                "network.options.img_size to a larger multiple of 32 and train again."
            )
        output = self.body(padded)
        logits, image_logits = output if isinstance(output, tuple) else (output, None)
        expected = padded.shape[0], self.channels, *padded.shape[2:]
        if not isinstance(logits, Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"network.options: the network turns images {tuple(padded.shape)} into {got}, "
                f"expected logits {expected}. Set `upsampling` or `encoder_depth`, or correct your "
                "own network, so that the two agree."
            )
        height, width = images.shape[2:]
        return Prediction(
            logits[:, :, :height, :width],
            None if image_logits is None else image_logits.squeeze(1),
        )


def build_network(network: Network, channels: int, image_head: bool = False) -> SegmentationNetwork:
    """Build a network with the start weights its section names.

    Args:
        network: The configuration's section.
        channels: Output channels, one per target.
        image_head: Whether to add a logit per image (any object or none).

    Raises:
        ConfigError: The section cannot be built, or its weights cannot be had or do not fit.
        DataError: The weight file cannot be read.
    """
    built = build_random(network, channels, image_head)
    load_start_weights(built.body, network)
    return built


def build_trained(
    network: Network, channels: int, state: dict[str, Tensor], image_head: bool = False
) -> SegmentationNetwork:
    """Build a network and give it trained weights; `network.weights` is not looked at.

    Args:
        network: The section the weights were trained with.
        channels: As they were in training.
        state: The whole network's state.
        image_head: As it was in training.

    Raises:
        ArtifactError: The weights are those of another network.
    """
    built = build_random(network, channels, image_head)
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        raise ArtifactError(
            f"The checkpoint does not fit network {network.arch} with encoder {network.encoder}: "
            f"{' '.join(str(error).split())[:400]}. Train again, or go back to the configuration "
            "it was trained with."
        ) from error
    return built


def build_random(network: Network, channels: int, image_head: bool) -> SegmentationNetwork:
    """Build a network with random weights, whatever its section says of weights.

    Raises:
        ConfigError: The section cannot be built.
    """
    body, stride_px = build_body(network, channels, image_head)
    sizes = InputSizes(stride_px)
    side_px = made_for_px(network.encoder, network.options.get("img_size"))
    if side_px is not None:
        twin = on_shapes(lambda: build_body(network, channels, image_head)[0])
        sizes = find_sizes(twin, stride_px, side_px)
    return SegmentationNetwork(body, sizes, network.encoder, channels)
