"""An image of any size through networks that learned from images of one size, or up to one.

Windows of that size cover the image and overlap by a quarter; where they do, the networks' answers
are blended, so that no seam is seen and no object is cut at one. An image of that size or smaller
is one window, and its map is the run's own.
"""

from collections.abc import Callable, Iterator
from itertools import islice, product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.inference.tta import Chances

OVERLAP = 0.25


def predict_windows(
    network: Callable[[Tensor], Chances],
    image_hwc: npt.NDArray[np.uint8],
    *,
    height: int,
    width: int,
    batch_size: int,
) -> Chances:
    """Predict an image window by window.

    Args:
        network: Predicts uint8 (N, 3, h, w), for any h and w.
        image_hwc: uint8 (H, W, 3), RGB.
        height: Of a window, px.
        width: The same.
        batch_size: Windows at once.

    Returns:
        Of one image, on the CPU. It holds an object as surely as its surest window does.
    """
    rows, columns = image_hwc.shape[:2]
    height, width = min(height, rows), min(width, columns)
    tops, lefts = _starts(rows, height), _starts(columns, width)
    weight_hw = torch.outer(_ramp(height), _ramp(width))
    image_chw = torch.from_numpy(np.ascontiguousarray(image_hwc.transpose(2, 0, 1)))
    total_chw: Tensor | None = None
    surest: list[Tensor] = []
    weights_hw = torch.zeros(rows, columns)
    for places in _batches(list(product(tops, lefts)), batch_size):
        windows = [image_chw[:, top : top + height, left : left + width] for top, left in places]
        maps_nchw, image = network(torch.stack(windows))
        if image is not None:
            surest.append(image.max().cpu())
        for (top, left), prob_chw in zip(places, maps_nchw.cpu(), strict=True):
            if total_chw is None:
                total_chw = torch.zeros(len(prob_chw), rows, columns)
            inside = (slice(top, top + height), slice(left, left + width))
            total_chw[:, *inside] += prob_chw * weight_hw
            weights_hw[inside] += weight_hw
    if total_chw is None:
        raise ValueError(f"expected an image with pixels, got one of {columns}x{rows} px")
    highest = torch.stack(surest).max().reshape(1) if surest else None
    return Chances((total_chw / weights_hw)[None], highest)


def _starts(length: int, window: int) -> list[int]:
    """Spread windows evenly over a side, so many that neighbours share at least OVERLAP."""
    overlap = round(window * OVERLAP)
    count = 1 if length <= window else -(-(length - overlap) // (window - overlap))
    return [int(start) for start in np.linspace(0, length - window, count).round()]


def _ramp(length: int) -> Tensor:
    """Weigh a window's pixels along one side: less and less towards its edges, never nothing."""
    edge = max(1, round(length * OVERLAP))
    steps = torch.arange(length) + 0.5
    return torch.minimum(steps, length - steps).clamp(max=edge) / edge


def _batches(places: list[tuple[int, int]], batch_size: int) -> Iterator[list[tuple[int, int]]]:
    source = iter(places)
    while batch := list(islice(source, batch_size)):
        yield batch
