"""The one normalisation and the one pad rule: what stands between an image and a network.

Images of any size enter, 0..255; what leaves has the colours that the encoder's weights expect, in
most ImageNet's mean and deviation, and a height and width that the network can halve as often as it
must. Padding goes to the bottom and the right, so
that cropping back is a slice.
"""

import torch
from torch import Tensor


def normalise(images: Tensor, mean_255: Tensor, std_255: Tensor) -> Tensor:
    """Return float32 images of zero mean and unit deviation over the encoder's training data.

    Args:
        images: (N, 3, H, W), uint8 or float, RGB, 0..255.
        mean_255: (3, 1, 1), on the images' device.
        std_255: The same.
    """
    return (images.to(torch.float32) - mean_255) / std_255


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Mirror the images at their bottom and right edges, up to the next multiple of `multiple`.

    The mirror does not repeat the edge row, and runs back and forth where the image is smaller than
    what is missing; an image of one row repeats it.

    Args:
        images: (N, C, H, W) of any type.
        multiple: The network's stride, in pixels.
    """
    for axis in (2, 3):
        size_px = images.shape[axis]
        padded_px = next_multiple(size_px, multiple)
        if padded_px != size_px:
            images = images.index_select(axis, mirrored(size_px, padded_px, images.device))
    return images


def next_multiple(size_px: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is no less than `size_px`."""
    # Not -(-n // m), which torch's exporter to ONNX divides towards zero.
    return (size_px + multiple - 1) // multiple * multiple


def mirrored(size_px: int, padded_px: int, device: torch.device) -> Tensor:
    """Return the first `padded_px` of 0, 1, ..., n-1, n-2, ..., 1, 0, 1, ... for n = `size_px`."""
    # A tensor, since torch's exporter to ONNX knows no remainder by a length.
    period = torch.full((), max(2 * (size_px - 1), 1), device=device)
    position = torch.arange(padded_px, device=device) % period
    return torch.minimum(position, period - position)
