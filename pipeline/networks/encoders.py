"""Encoders of segmentation_models_pytorch and, as `tu-<name>`, of timm.

A name enters, a module with random weights leaves; beside it what must be known of it: the colours
its published weights expect, and the size of images it is made for, where it is made for one.
"""

from typing import Any

import timm
from segmentation_models_pytorch.encoders import encoders, get_encoder
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_DPN_MEAN,
    IMAGENET_DPN_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)
from timm.models import get_arch_pretrained_cfgs
from torch import nn

from pipeline.config.describe import nearest
from pipeline.errors import ConfigError

_INCEPTIONS = IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
_NOT_IMAGENETS = {
    **dict.fromkeys(("inception", "xception", "timm-tf_efficientnet_lite"), _INCEPTIONS),
    "dpn": (IMAGENET_DPN_MEAN, IMAGENET_DPN_STD),
}
"""What smp's encoders expect, by the start of their names, as timm has it for the same weights."""

_SWINS = ("swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr")
"""timm's modules whose networks take any size if they are asked not to be strict."""


def encoder_options(name: str, img_size: int | None) -> dict[str, Any]:
    """Return what timm must be told so that an encoder takes images of many sizes, or of one.

    Args:
        name: The encoder's.
        img_size: Side of the square images to make it for, px; None for its own.

    Raises:
        ConfigError: It is not timm's.
    """
    if not name.startswith("tu-"):
        if img_size is not None:
            raise ConfigError(
                f"network.options.img_size: encoder {name} is made for no size, got {img_size}. "
                "Leave it out."
            )
        return {}
    strict = {"strict_img_size": False} if _module(name) in _SWINS else {}
    return strict if img_size is None else strict | {"img_size": img_size}


def made_for_px(name: str | None, img_size: int | None) -> int | None:
    """Return the side of the images that an encoder may be bound to; None if it takes any."""
    if name is None or not name.startswith("tu-"):
        return None
    known = timm.get_pretrained_cfg(name.removeprefix("tu-"))
    if known is None or not (known.fixed_input_size or known.min_input_size):
        return None
    return img_size or int(known.input_size[-1])


def _module(name: str) -> str:
    module: str = timm.model_entrypoint(name.removeprefix("tu-")).__module__
    return module.rpartition(".")[2]


def build_encoder(name: str, depth: int = 5, img_size: int | None = None) -> nn.Module:
    """Build an encoder, with random weights.

    Args:
        name: smp's, or timm's behind `tu-`.
        depth: How often it halves the image.
        img_size: See `encoder_options`.

    Raises:
        ConfigError: Unknown encoder, or not one for `img_size`.
    """
    check_encoder(name)
    options = encoder_options(name, img_size)
    encoder: nn.Module = get_encoder(name, in_channels=3, depth=depth, weights=None, **options)
    return encoder


def check_encoder(name: str) -> None:
    """Raise ConfigError for a name that neither smp nor timm knows."""
    if name.startswith("tu-"):
        arch, dot, tag = name.removeprefix("tu-").partition(".")
        if not timm.is_model(arch):
            known = timm.list_models()
            hint = nearest(arch, known).partition(" Known")[0]
            raise ConfigError(
                f"network.encoder: timm has no network {arch!r}.{hint} "
                f"`timm.list_models()` lists its {len(known)} names."
            )
        tags = [full.partition(".")[2] for full in get_arch_pretrained_cfgs(arch)]
        if dot and tag not in tags:
            raise ConfigError(
                f"network.encoder: timm has no weights {tag!r} for {arch}.{nearest(tag, tags)} "
                "Or leave the tag out."
            )
    elif name not in encoders:
        hint = nearest(name, list(encoders))
        raise ConfigError(
            f"network.encoder: unknown encoder {name!r}.{hint} Or tu-<name of a timm network>."
        )


def mean_and_std(name: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the deviation, of colours 0..1, that an encoder's weights expect.

    They are those its published weights were trained with: timm's are timm's, of smp's all but
    those below have ImageNet's. They go by the name alone, so that weights from anywhere, and
    trained ones, meet the same colours. Without an encoder: ImageNet's.
    """
    if name is not None and name.startswith("tu-"):
        known = timm.get_pretrained_cfg(name.removeprefix("tu-"))
        if known is not None:
            return known.mean, known.std
    for prefix, found in _NOT_IMAGENETS.items():
        if name is not None and name.startswith(prefix):
            return found
    return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
