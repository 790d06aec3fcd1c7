"""Whether a network can be built, started, and given crops and images, told before it is needed."""

import logging
from collections.abc import Iterable

import torch

from pipeline.config.code_file import CodeFile
from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.networks.bodies import others
from pipeline.networks.build import SegmentationNetwork, build_random
from pipeline.networks.frame import next_multiple
from pipeline.networks.input_sizes import InputSizes, on_shapes, problem_at, squares_taken
from pipeline.networks.own_class import errors_of
from pipeline.networks.weights import check_imagenet, load_start_weights

LOG = logging.getLogger(__name__)
OWN_TRIED_PX = 64
"""Of the image that a network of one's own is tried on where crops are too large, or not known."""
MAX_OWN_PX = 1024
"""Larger crops need memory that maybe only the machine that trains has."""
_STEP_PX = 32
"""Encoders of one size can be made for multiples of it."""


def check_network(
    network: Network,
    channels: int,
    crop_px: int | None,
    images: Iterable[tuple[int, int]] = (),
    *,
    image_head: bool = False,
) -> None:
    """Check that training can build a network, start it, and give it crops and images.

    Nothing is downloaded and, but for a network of one's own, nothing is computed.

    Args:
        network: The configuration's section.
        channels: Output channels, one per target.
        crop_px: Height and width of a crop; None if they are not known yet.
        images: Height and width of images.
        image_head: Whether to add a logit per image.

    Raises:
        ConfigError: It cannot.
        DataError: The weight file cannot be read.
    """
    if CodeFile.named(network.arch) is not None:
        _check_own(network, channels, crop_px, image_head=image_head)
    else:
        check_sizes(network, crop_px, images, channels, image_head=image_head)
    if network.weights == "imagenet":
        check_imagenet(network)
    elif network.weights != "none":
        load_start_weights(build_random(network, channels, image_head).body, network)


def check_sizes(
    network: Network,
    crop_px: int | None,
    images: Iterable[tuple[int, int]],
    channels: int = 1,
    *,
    image_head: bool = False,
) -> None:
    """Check that a network, not one of one's own, can be built and takes crops and images.

    Images may be turned and of many sizes: each side of one is tried once, beside another.

    Args:
        network: As for `check_network`, and so the others.
        crop_px: The same.
        images: The same.
        channels: The same.
        image_head: The same.

    Raises:
        ConfigError: It does not.
    """
    built = on_shapes(lambda: build_random(network, channels, image_head))
    if crop_px is not None:
        _check_size(network, built, "crops", (crop_px, crop_px))
        _warn_of_padding(network, built, crop_px)
    padded = {-(-side_px // built.stride): side_px for size in images for side_px in size}
    sides_px = sorted(padded.values())
    for height, width in zip(sides_px, sides_px[-1:] + sides_px, strict=False):
        _check_size(network, built, "images", (height, width))


def _check_size(
    network: Network, built: SegmentationNetwork, what: str, size: tuple[int, int]
) -> None:
    """Raise ConfigError where a network on the meta device does not take images of a size."""
    if built.largest_px is not None and max(size) > built.largest_px:
        problem: str | None = f"it is made for {built.largest_px} px"
    else:
        problem = problem_at(built, *size)
    if problem is None:
        return
    taken = str(InputSizes(built.stride, built.largest_px))
    if built.largest_px is None:
        sides = ", ".join(map(str, squares_taken(built)))
        taken = (
            f"square images with these sides, px: {sides}" if sides else "no size that was tried"
        )
    advice = f"Set an encoder that takes any size, such as {others(network.arch)}"
    for side_px in (next_multiple(max(size), _STEP_PX), None):
        other = network.model_copy(update={"options": network.options | {"img_size": side_px}})
        if network.options.get("img_size") != side_px and _takes(other, size):
            value = side_px or "null"
            advice += f"; or network.options.img_size={value}, with which this one takes them"
            break
    raise ConfigError(
        f"network.encoder: {network.arch} with encoder {network.encoder} and options "
        f"{network.options} cannot take {what} of {size[0]} x {size[1]} px: {problem}. "
        f"It takes {taken}. {advice}."
    )


def _takes(network: Network, size: tuple[int, int]) -> bool:
    try:
        built = on_shapes(lambda: build_random(network, 1, image_head=False))
    except ConfigError:
        return False
    return problem_at(built, *size) is None


def _warn_of_padding(network: Network, built: SegmentationNetwork, crop_px: int) -> None:
    padded_px = next_multiple(crop_px, built.stride)
    if padded_px >= next_multiple(crop_px, _STEP_PX) + _STEP_PX:
        LOG.warning(
            "network.encoder: %s takes %s: crops of %d px become %d px and cost as much. Made for "
            "smaller images, with network.options.img_size, it costs less",
            *(network.encoder, InputSizes(built.stride, built.largest_px), crop_px, padded_px),
        )


def _check_own(network: Network, channels: int, crop_px: int | None, *, image_head: bool) -> None:
    """Compute a network of one's own, whose code may not be for shapes alone."""
    own = CodeFile.named(network.arch)
    assert own is not None, "asked for a file"
    built = build_random(network, channels, image_head).eval()
    side_px = OWN_TRIED_PX if crop_px is None or crop_px > MAX_OWN_PX else crop_px
    image = torch.zeros(1, 3, side_px, side_px, dtype=torch.uint8)
    with torch.inference_mode(), errors_of(own, "fails"):
        predicted = built(image)
    if predicted.image_logits is not None and not image_head:
        raise ConfigError(
            f"network.arch: {network.arch}: expected logits alone, got a tuple. Return only them."
        )
