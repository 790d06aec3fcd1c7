"""How good the averaged weights are on whole held-out images."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from pipeline.compute.device import Device
from pipeline.data.targets import object_truth, probabilities
from pipeline.metrics.coefficients import PixelCounts
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import score_labels
from pipeline.networks.build import Prediction, SegmentationNetwork
from pipeline.training.batches import validation_batches
from pipeline.training.context import TrainingContext


@torch.inference_mode()
def validate(
    context: TrainingContext,
    network: SegmentationNetwork,
    *,
    pixels: int,
    between: Callable[[], None],
) -> dict[str, float]:
    """Return the mean loss, the coefficients of the pixels of objects, and F2.

    F2 is the competition's, of the 8-connected components where an object has a probability of more
    than 0.5: what the maps are worth before stage 5.

    Args:
        context: Of the training; a batch is of as many images as one of crops. Each process of the
            group gets the same result.
        network: In evaluation mode, on the device.
        pixels: Of the images that are in the network at a time, if one has no more.
        between: Called before each batch, in each process equally often.
    """
    device, group, images = context.device, context.group, context.validation
    kind = context.config.targets.kind
    total, f2 = torch.zeros(2, dtype=torch.float64, device=device.where)
    counts = PixelCounts(device.where)
    batches = validation_batches(context)
    for _ in range(math.ceil(len(images) / (context.crops.batch_size * group.size))):
        between()
        batch = next(batches, None)
        if batch is None:
            break  # other processes have one batch more
        inputs = device.move(batch["image_chw"])
        target = device.move(batch["target"])
        at_once = max(pixels // inputs[0, 0].numel(), 1)
        prediction = _predict(network, inputs.chunk(math.ceil(len(inputs) / at_once)), device)
        total += context.loss(prediction, target)[0] * len(inputs)
        found = probabilities(prediction.logits_nchw, kind)[:, :1] > 0.5
        counts.update(found, object_truth(target))
        f2 += _sum_of_f2(batch["labels_hw"], found[:, 0])
    group.sum(total, f2, *counts.sums)
    coefficients = {f"val_{name}": value for name, value in counts.coefficients().items()}
    means = {"val_loss": total / len(images), "val_f2": f2 / len(images)}
    return {name: value.item() for name, value in means.items()} | coefficients


def _sum_of_f2(true_nhw: torch.Tensor, found_nhw: torch.Tensor) -> float:
    """Sum the F2 of a batch of true labels and masks of found objects."""
    found = found_nhw.cpu().numpy().astype(np.uint8)
    return sum(
        float(score_labels(F2(), true_hw, cv2.connectedComponents(found_hw, connectivity=8)[1])[0])
        for true_hw, found_hw in zip(true_nhw.numpy(), found, strict=True)
    )


def _predict(
    network: SegmentationNetwork, parts: Sequence[torch.Tensor], device: Device
) -> Prediction:
    """Predict a batch in parts."""
    with device.autocast():
        each = [network(part) for part in parts]
    heads = [one.image_logits for one in each if one.image_logits is not None]
    logits_nchw = torch.cat([one.logits_nchw for one in each])
    return Prediction(logits_nchw, torch.cat(heads) if heads else None)
