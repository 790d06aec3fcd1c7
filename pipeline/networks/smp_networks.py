"""The architectures and encoders of segmentation_models_pytorch, timm's encoders among them.

A checked `Network` enters, an smp model leaves, with random weights: what it starts from is in
`pipeline.networks.weights`.
"""

import timm
from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING
from segmentation_models_pytorch.base import ClassificationHead
from segmentation_models_pytorch.encoders import encoders, get_encoder
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_DPN_MEAN,
    IMAGENET_DPN_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)
from torch import nn

from pipeline.config.describe import nearest
from pipeline.config.networks import Network
from pipeline.errors import ConfigError

_INCEPTIONS = IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
_NOT_IMAGENETS = {
    **dict.fromkeys(("inception", "xception", "timm-tf_efficientnet_lite"), _INCEPTIONS),
    "dpn": (IMAGENET_DPN_MEAN, IMAGENET_DPN_STD),
}
"""What smp's encoders expect, by the start of their names, as timm has it for the same weights."""

HEAD = {"classes": 1, "pooling": "max", "dropout": 0.0}
"""Maximum, since an object may fill a thousandth of an image and a mean would drown it."""


def build_smp(network: Network, channels: int, image_head: bool) -> nn.Module:
    """Build smp's architecture `network.arch`, which returns logits, or (logits, image logits).

    Raises:
        ConfigError: Unknown encoder, or one that the architecture cannot use as asked.
    """
    check_encoder(str(network.encoder))
    given = dict(network.options)
    if network.arch == "dpt":
        given["dynamic_img_size"] = True
    try:
        body: nn.Module = MODEL_ARCHITECTURES_MAPPING[network.arch](
            encoder_name=network.encoder,
            encoder_weights=None,
            in_channels=3,
            classes=channels,
            activation=None,
            aux_params=HEAD if image_head else None,
            **given,
        )
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"network: {network.arch} cannot be built with encoder {network.encoder!r} and options "
            f"{network.options}: {' '.join(str(error).split())}. Change one of the three."
        ) from error
    return body


def build_encoder(name: str, depth: int = 5) -> nn.Module:
    """Build one of smp's encoders, with random weights.

    Raises:
        ConfigError: Unknown encoder.
    """
    check_encoder(name)
    encoder: nn.Module = get_encoder(name, in_channels=3, depth=depth, weights=None)
    return encoder


def check_encoder(name: str) -> None:
    """Raise ConfigError for a name that neither smp nor timm knows."""
    if name.startswith("tu-"):
        if not timm.is_model(name.removeprefix("tu-")):
            known = timm.list_models()
            hint = nearest(name.removeprefix("tu-").partition(".")[0], known).partition(" Known")[0]
            raise ConfigError(
                f"network.encoder: timm has no network {name.removeprefix('tu-')!r}.{hint} "
                f"`timm.list_models()` lists its {len(known)} names."
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


def image_head_of(channels: int) -> nn.Module:
    """Build the head that says whether an image holds an object, from features of `channels`."""
    head: nn.Module = ClassificationHead(channels, **HEAD)
    return head


def smp_stride_px(arch: str, body: nn.Module) -> int:
    """Return the multiple that height and width of the input must be of.

    PAN's pyramid halves the deepest features three times more, DPT's reassembly once.
    """
    stride = int(body.encoder.output_stride)  # type: ignore[arg-type, union-attr]
    return stride * {"pan": 8, "dpt": 2}.get(arch, 1)
