"""How good the averaged weights are on whole held-out images."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from pipeline.compute.device import Device
from pipeline.data.targets import object_truth, probabilities, without_borders
from pipeline.metrics.coefficients import PixelCounts
from pipeline.metrics.matching import score_labels
from pipeline.metrics.metric import Metric, score
from pipeline.metrics.registry import find_metric
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
    """Return the mean loss, the coefficients of the pixels of objects, and the score.

    It is the metric in force, of each class of each image by itself: of the 8-connected components
    where an object has a probability of more than 0.5, what the maps are worth before stage 5.

    Args:
        context: Of the training; a batch is of as many images as one of crops. Each process of the
            group gets the same result.
        network: In evaluation mode, on the device.
        pixels: Of the images that are in the network at a time, if one has no more.
        between: Called before each batch, in each process equally often.
    """
    device, group, images = context.device, context.group, context.validation
    kind = context.config.targets.kind
    metric = find_metric(context.config.task.metric)
    sums = torch.zeros(3, dtype=torch.float64, device=device.where)
    counts = PixelCounts(device.where)
    batches = validation_batches(context)
    for _ in range(math.ceil(len(images.batches(context.crops.batch_size)) / group.size)):
        between()
        batch = next(batches, None)
        if batch is None:
            break  # other processes have one batch more
        inputs = device.move(batch["image_chw"])
        target = device.move(batch["target"])
        at_once = max(pixels // inputs[0, 0].numel(), 1)
        prediction = _predict(network, inputs.chunk(math.ceil(len(inputs) / at_once)), device)
        sums[0] += context.loss(prediction, target)[0] * len(inputs)
        found = without_borders(probabilities(prediction.logits_nchw, kind), kind) > 0.5
        found_nhw = found.flatten(0, 1)
        counts.update(found_nhw, object_truth(target, kind).flatten(0, 1))
        sums[1:] += _terms(metric, batch["labels_chw"].flatten(0, 1), found_nhw).to(device.where)
    group.sum(sums, *counts.sums)
    coefficients = {f"val_{name}": value for name, value in counts.coefficients().items()}
    total, *terms = sums.tolist()
    means = {"val_loss": total / len(images), f"val_{metric.key}": score(np.array(terms)[:, None])}
    return means | coefficients


def _terms(metric: Metric, true_nhw: torch.Tensor, found_nhw: torch.Tensor) -> torch.Tensor:
    """Sum the terms, (2,), of the scores of a batch of true labels and masks of found objects."""
    found = found_nhw.cpu().numpy().astype(np.uint8)
    each = [
        score_labels(metric, true_hw, cv2.connectedComponents(found_hw, connectivity=8)[1])
        for true_hw, found_hw in zip(true_nhw.numpy(), found, strict=True)
    ]
    return torch.from_numpy(np.sum(each, axis=0))


def _predict(
    network: SegmentationNetwork, parts: Sequence[torch.Tensor], device: Device
) -> Prediction:
    """Predict a batch in parts."""
    with device.autocast():
        each = [network(part) for part in parts]
    heads = [one.image_logits for one in each if one.image_logits is not None]
    logits_nchw = torch.cat([one.logits_nchw for one in each])
    return Prediction(logits_nchw, torch.cat(heads) if heads else None)
