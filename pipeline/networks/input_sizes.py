"""Which sizes of images a network takes, tried on shapes alone.

On torch's meta device tensors have a shape and no numbers: a network is built and run there in a
fraction of a second and of the memory, and stumbles over a size where it would stumble anywhere.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

_Module = TypeVar("_Module", bound=nn.Module)

TRIED_PX = (64, 96, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024)
"""Sides of the squares that a refusal tells of."""


class InputSizes(NamedTuple):
    """Height and width of what a network takes.

    Attributes:
        multiple_px: Both are multiples of it.
        largest_px: And at most this; None where there is no limit.
    """

    multiple_px: int
    largest_px: int | None = None

    def __str__(self) -> str:
        if self.largest_px is not None:
            return f"images of at most {self.largest_px} x {self.largest_px} px, padded to that"
        return f"images of any size, padded to multiples of {self.multiple_px} px"


def on_shapes(build: Callable[[], _Module]) -> _Module:
    """Build a network on the meta device, evaluating.

    One that computes with numbers while it is built is built with them first.
    """
    try:
        with torch.device("meta"):
            return build().eval()
    except (ConfigError, RuntimeError) as error:
        if "on meta tensors" not in str(error):
            raise
    with torch.device("cpu"):
        return build().to("meta").eval()


def find_sizes(body: nn.Module, stride_px: int, side_px: int) -> InputSizes:
    """Return what a network takes that may be bound to the size its encoder was made for.

    Some work at any size, some at multiples of that size, and some there alone.

    Args:
        body: On the meta device, evaluating.
        stride_px: What its layers must be able to divide height and width by.
        side_px: Of the square that its encoder was made for.
    """
    if problem_at(body, 5 * stride_px, 7 * stride_px) is None:
        return InputSizes(stride_px)
    if problem_at(body, 2 * side_px, side_px) is None:
        return InputSizes(side_px)
    if problem_at(body, side_px, side_px) is None:
        return InputSizes(side_px, side_px)
    return InputSizes(stride_px)


def squares_taken(network: nn.Module) -> list[int]:
    """Return which of `TRIED_PX` a network on the meta device takes."""
    return [side_px for side_px in TRIED_PX if problem_at(network, side_px, side_px) is None]


def problem_at(network: nn.Module, height: int, width: int) -> str | None:
    """Return why a network cannot take (1, 3, height, width); None if it can.

    That an encoder's features lie on other pixels than their place says is a problem, too:
    convolutions without padding lose the image's edges, and what is left is stretched over them.

    Args:
        network: On the meta device, evaluating.
        height: Of the image, px.
        width: The same.

    Raises:
        PipelineError: As the network itself does.
    """
    encoder = getattr(getattr(network, "body", network), "encoder", None)
    hook = encoder.register_forward_hook(_check_register) if encoder is not None else None
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width, device="meta"))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return " ".join(str(error).split())[:300] or "its code forbids it and does not say why"
    finally:
        if hook is not None:
            hook.remove()
    return None


def _check_register(_: nn.Module, inputs: tuple[Tensor, ...], features: object) -> None:
    if not isinstance(features, list):
        return  # of a vision transformer, all of one size
    height = inputs[0].shape[2]
    for level, map_nchw in enumerate(features):
        if map_nchw.shape[2] < height >> level:
            raise ValueError(
                f"its convolutions are not padded, so its features at stride {2**level} are "
                f"{map_nchw.shape[2]} px high instead of {height >> level} and would be stretched "
                "out of register"
            )
