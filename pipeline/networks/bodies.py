"""From a checked `Network` to the module that computes its logits, or the reason why there is none.

What the packages below say of an encoder that they cannot use names neither the setting nor a way
out; both are found by trying what else it fits, on shapes alone.
"""

from typing import Any

import timm
import torch
from torch import nn

from pipeline.config.architectures import find_architecture
from pipeline.config.code_file import CodeFile
from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.networks.encoders import made_for_px
from pipeline.networks.input_sizes import on_shapes, problem_at
from pipeline.networks.own_class import build_own
from pipeline.networks.smp_networks import build_smp, image_head_of, smp_stride_px
from pipeline.networks.two_headed import TwoHeaded

_ERRORS = AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError
"""What smp and timm raise for an encoder that they cannot use as asked."""
_TRIED_PX = 224
"""Side of the image that an encoder is tried on, where it is not made for a size."""


def others(arch: str) -> str:
    """Name encoders that an architecture takes, at any size."""
    return "tu-vit_tiny_patch16_224" if arch == "dpt" else "resnet34 or tu-convnext_pico"


def build_body(network: Network, channels: int, image_head: bool) -> tuple[nn.Module, int]:
    """Build a network with random weights.

    Returns:
        The module, and the multiple that height and width of its input must be of, px.

    Raises:
        ConfigError: The section cannot be built.
    """
    file, architecture = CodeFile.named(network.arch), find_architecture(network.arch)
    assert architecture is not None, "the configuration names a known one"
    if file is not None:
        own = build_own(file, channels, network.options, image_head)
    else:
        try:
            if architecture.build is None:
                body = build_smp(network, channels, image_head)
                return body, smp_stride_px(network.arch, body)
            encoder = {} if network.encoder is None else {"encoder": network.encoder}
            own = architecture.build(**encoder, channels=channels, **network.options)
        except _ERRORS as error:
            raise ConfigError(_refusal(network, error)) from error
    if image_head:
        assert isinstance(own, TwoHeaded)
        own.image_head = image_head_of(own.deep_channels)
    return own, getattr(own, "stride_px", 1)


def _refusal(network: Network, error: Exception) -> str:
    """Say which setting is to blame for what could not be built, and what would do."""
    reason = " ".join(str(error).split())
    if "downsampling pattern" in reason:
        strides_px = _strides_px(str(network.encoder))
        reason = f"its features have strides {strides_px}, expected 2, 4, 8 and so on"
    what = f"{network.arch} cannot be built with encoder {network.encoder!r}"
    if network.options:
        what += f" and options {network.options}"
    if network.encoder is None or _works(network, network.arch):
        return f"network.options: {what}: {reason}. Correct or leave out the options."
    for arch in ("unet", "dpt"):
        if arch != network.arch and _works(network, arch):
            return (
                f"network.arch: {what}: {reason}. Set network.arch={arch}, which takes it, or an "
                f"encoder such as {others(network.arch)}."
            )
    return (
        f"network.encoder: {what}: {reason}. No architecture takes it. Set an encoder such as "
        f"{others('unet')} with network.arch=unet; or network.arch=dpt and "
        f"network.encoder={others('dpt')}."
    )


def _works(network: Network, arch: str) -> bool:
    """Tell whether `arch` takes the encoder with no options given."""
    given = network.model_copy(update={"arch": arch, "options": {}})
    architecture: Any = find_architecture(arch)

    def build() -> nn.Module:
        if architecture.build is None:
            return build_smp(given, 1, image_head=False)
        body: nn.Module = architecture.build(encoder=given.encoder, channels=1)
        return body

    try:
        body = on_shapes(build)
    except _ERRORS:
        return False
    side_px = made_for_px(given.encoder, None) or _TRIED_PX
    return problem_at(body, side_px, side_px) is None


def _strides_px(encoder: str) -> str:
    with torch.device("meta"):
        whole = timm.create_model(encoder.removeprefix("tu-"), features_only=True)
    return ", ".join(map(str, whole.feature_info.reduction()))
