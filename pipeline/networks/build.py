"""From a configuration's `network` section to the module that everything else uses.

Images as they are stored enter it (uint8, any size), logits of the same size leave: the wrapper
normalises, pads to the stride and crops back, so nobody else has to.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.config.architectures import find_architecture
from pipeline.config.code_file import CodeFile
from pipeline.config.networks import Network
from pipeline.errors import ArtifactError, ConfigError
from pipeline.networks.frame import normalise, pad_to_multiple
from pipeline.networks.own_class import build_own, errors_of
from pipeline.networks.smp_networks import build_smp, image_head_of, mean_and_std, smp_stride_px
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.weight_files import imagenet_source
from pipeline.networks.weights import load_start_weights

OWN_TRIED_PX = 64
"""Of the image that a network of one's own is tried on where crops are too large, or not known."""


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
        channels: C.
        mean_255: What the encoder's weights expect, (3, 1, 1).
        std_255: The same.
    """

    mean_255: Tensor
    std_255: Tensor

    def __init__(self, body: nn.Module, stride: int, encoder: str | None, channels: int) -> None:
        super().__init__()
        self.body = body
        self.stride = stride
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
            ConfigError: The body's output is not of those channels, or not as large as its input.
        """
        padded = normalise(pad_to_multiple(images, self.stride), self.mean_255, self.std_255)
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
    built = _build_random(network, channels, image_head)
    load_start_weights(built.body, network)
    return built


def check_network(
    network: Network, channels: int, size_px: int | None, image_head: bool = False
) -> None:
    """Check that training can build a network, start it, and give it crops; download nothing.

    Args:
        network: The configuration's section.
        channels: Output channels, one per target.
        size_px: Of a crop to try it on; None for no trial, but for a network of one's own.
        image_head: Whether to add a logit per image.

    Raises:
        ConfigError: It cannot.
        DataError: The weight file cannot be read.
    """
    built = _build_random(network, channels, image_head).eval()
    if network.weights == "imagenet":
        imagenet_source(str(network.encoder))
    elif network.weights != "none":
        load_start_weights(built.body, network)
    own = CodeFile.named(network.arch)
    if size_px is None and own is None:
        return
    size_px = size_px or OWN_TRIED_PX
    image = torch.zeros(1, 3, size_px, size_px, dtype=torch.uint8)
    try:
        with torch.inference_mode(), nullcontext() if own is None else errors_of(own, "fails"):
            predicted = built(image)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"crops.size_px: {network.arch} with encoder {network.encoder} cannot take {size_px} "
            f"px: {' '.join(str(error).split())[:400]}. Change the size or the network."
        ) from error
    if predicted.image_logits is not None and not image_head:
        raise ConfigError(
            f"network.arch: {network.arch}: expected logits alone, got a tuple. Return only them."
        )


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
    built = _build_random(network, channels, image_head)
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        raise ArtifactError(
            f"The checkpoint does not fit network {network.arch} with encoder {network.encoder}: "
            f"{' '.join(str(error).split())[:400]}. Train again, or go back to the configuration "
            "it was trained with."
        ) from error
    return built


def _build_random(network: Network, channels: int, image_head: bool) -> SegmentationNetwork:
    file, architecture = CodeFile.named(network.arch), find_architecture(network.arch)
    assert architecture is not None, "the configuration names a known one"
    if file is not None:
        own = build_own(file, channels, network.options, image_head)
    elif architecture.build is None:
        body = build_smp(network, channels, image_head)
        stride_px = smp_stride_px(network.arch, body)
        return SegmentationNetwork(body, stride_px, network.encoder, channels)
    else:
        encoder = {} if network.encoder is None else {"encoder": network.encoder}
        try:
            own = architecture.build(**encoder, channels=channels, **network.options)
        except ValueError as error:
            raise ConfigError(f"network.options: {network.arch}: {error}.") from error
    if image_head:
        assert isinstance(own, TwoHeaded)
        own.image_head = image_head_of(own.deep_channels)
    return SegmentationNetwork(own, getattr(own, "stride_px", 1), network.encoder, channels)
