"""Which network a file's weights were trained in, as far as the file's name tells.

timm publishes several weights for one name, each with a tag, and some of its networks a second
time, padded as TensorFlow pads. Their tensors have the same names and shapes, so that all of them
load; what they expect of colours and borders differs.
"""

import logging
import re
from pathlib import Path

import timm
from timm.models import get_arch_pretrained_cfgs

from pipeline.errors import ConfigError
from pipeline.networks.encoders import mean_and_std

LOG = logging.getLogger(__name__)


def check_origin(encoder: str, path: Path) -> None:
    """Refuse weights of another padding or other colours than the encoder's; say if it is unknown.

    Args:
        encoder: timm's, `tu-<name>` or `tu-<name>.<tag>`.
        path: The file of weights, in Hugging Face's cache or anywhere.

    Raises:
        ConfigError: The file's name, or its repository's, is that of other weights.
    """
    name, _, own_tag = encoder.removeprefix("tu-").partition(".")
    told = " ".join(part for part in path.parts if part.startswith("models--")) + f" {path.name}"
    _check_padding(name, told, path)
    colours = {
        tag: (source.mean, source.std)
        for full, source in get_arch_pretrained_cfgs(name).items()
        if (tag := full.partition(".")[2])
    }
    tags = [tag for tag in colours if f"{name}.{tag}" in told]
    mean, std = mean_and_std(encoder)
    if not tags:
        if not own_tag and len({*colours.values()}) > 1:
            LOG.warning(
                "network.weights: %s: its name does not say which of timm's weights it holds, and "
                "they expect different colours. Taken for %s's first: mean %s, deviation %s. If it "
                "is another, set network.encoder=tu-%s.TAG with one of: %s",
                *(path, name, mean, std, name, ", ".join(colours)),
            )
        return
    tag = max(tags, key=len)
    if colours[tag] != (mean, std):
        raise ConfigError(
            f"network.weights: {path}: expected weights for mean {mean} and deviation {std}, as "
            f"encoder {encoder} has them, got {name}.{tag}, which was trained with mean "
            f"{colours[tag][0]} and deviation {colours[tag][1]}. Set "
            f"network.encoder=tu-{name}.{tag}."
        )


def _check_padding(name: str, told: str, path: Path) -> None:
    plain = name.removeprefix("tf_")
    twin = plain if name != plain else f"tf_{plain}"
    if not timm.is_model(twin):
        return
    found = {
        f"{before}{plain}" for before in re.findall(rf"(tf_)?{re.escape(plain)}(?![a-z0-9])", told)
    }
    if found == {twin}:
        raise ConfigError(
            f"network.weights: {path}: expected weights of {name}, got those of {twin}. The two "
            "have the same tensors, but tf_ networks pad their images as TensorFlow does and "
            f"compute other features. Set network.encoder=tu-{twin}, or give {name}'s weights."
        )
    if not found:
        LOG.warning(
            "network.weights: %s: its name does not say whether it holds %s or %s, which have the "
            "same tensors and pad their images differently. Taken for %s",
            *(path, name, twin, name),
        )
