"""How good the averaged weights are on whole held-out images."""

from collections.abc import Callable

import torch
from torch import nn

from pipeline.data.targets import probabilities, ship_truth
from pipeline.data.tiles import ImageDataset
from pipeline.networks.build import SegmentationNetwork
from pipeline.training.batches import whole_images
from pipeline.training.coefficients import PixelCounts
from pipeline.training.device import Device

__all__ = ["validate"]


@torch.inference_mode()
def validate(
    network: SegmentationNetwork,
    loss: nn.Module,
    images: ImageDataset,
    *,
    kind: str,
    batch_size: int,
    workers: int,
    device: Device,
    between: Callable[[], None],
) -> dict[str, float]:
    """Return the mean loss, and the coefficients of the pixels of ships.

    Args:
        network: In evaluation mode.
        loss: Of prediction and target.
        images: Whole images with their targets.
        kind: Of the targets.
        batch_size: Images a batch.
        workers: Loader processes.
        device: Where the network is.
        between: Called before each batch.
    """
    total = torch.zeros((), device=device.where)
    counts = PixelCounts(device.where)
    for batch in whole_images(images, batch_size, workers=workers, pin=device.is_cuda):
        between()
        inputs = device.move(batch["image_chw"])
        target = device.move(batch["target"])
        with device.autocast():
            prediction = network(inputs)
        total += loss(prediction, target)[0] * len(inputs)
        counts.update(probabilities(prediction.logits_nchw, kind)[:, :1] > 0.5, ship_truth(target))
    coefficients = {f"val_{name}": value for name, value in counts.coefficients().items()}
    return {"val_loss": (total / len(images)).item()} | coefficients
