"""What a network learns of each pixel, and the probability of an object that its answer means.

A crop's label map becomes the target, after every augmentation; logits become the probabilities of
object and touching border, whatever the target's kind.

- `object`: a sigmoid channel a class, object or not.
- `object_contact`: behind them another a class, touching border: where objects meet or nearly do.
  It is learnt on pixels of objects and of borders alone, so it is P(border | object).
- `softmax`, of one class: a softmax over background, object, and object's pixel of a touching
  border. One answer a pixel: borders count on objects only, so that the last two sum up to
  P(object), and the gap between two objects stays background.

The border is what tells touching objects apart: without it and with perfect masks, F2 on images
with ships ends at 0.94.
"""

import numpy as np
import torch

from pipeline.config.fields import CHANNELS
from pipeline.config.schema import Targets
from pipeline.data.contact import contact


def make_target(labels_chw: np.ndarray, targets: Targets) -> torch.Tensor:
    """Turn objects into what the losses compare logits with.

    Args:
        labels_chw: int32 (C, H, W), for each class 0 for background, n for its n-th object.
        targets: The configuration's section.

    Returns:
        `object`: uint8 (C, H, W) of 0 and 1. `object_contact`: uint8 (2C, H, W) of 0 and 1, the
        classes and then their borders. `softmax`, of one class: int64 (H, W), 0 background, 1
        object, 2 object's pixel of a touching border.
    """
    object_chw = labels_chw > 0
    if targets.kind == "object":
        return torch.from_numpy(object_chw.astype(np.uint8))
    contact_chw = np.stack([contact(each_hw, targets.contact_px) for each_hw in labels_chw])
    if targets.kind == "object_contact":
        return torch.from_numpy(np.concatenate([object_chw, contact_chw]).astype(np.uint8))
    return torch.from_numpy((object_chw + (object_chw & contact_chw).astype(np.int64))[0])


def object_truth(target: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the pixels of objects, bool (N, C, H, W), in a batch of targets of a kind."""
    return (target.unsqueeze(1) if kind == "softmax" else without_borders(target, kind)) > 0


def without_borders(maps_nchw: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the channels of the classes, (N, C, H, W), where borders stand behind them."""
    return maps_nchw[:, : maps_nchw.shape[1] // 2] if CHANNELS[kind] > 1 else maps_nchw


def probabilities(logits_nchw: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the probabilities of each class and, where the kind has it, of its touching borders.

    Args:
        logits_nchw: Floating, of the channels that `channels` says.
        kind: Of the targets they were trained on.

    Returns:
        float32 (N, C, H, W) for the kind `object`, else (N, 2C, H, W), 0..1.
    """
    logits_nchw = logits_nchw.float()
    if kind == "softmax":
        classes_nchw = logits_nchw.softmax(1)
        object_nchw = classes_nchw[:, 1:].sum(1, keepdim=True)
        return torch.cat([object_nchw, classes_nchw[:, 2:]], 1)
    found_nchw = logits_nchw.sigmoid()
    if kind == "object_contact":
        classes = found_nchw.shape[1] // 2
        found_nchw[:, classes:] *= found_nchw[:, :classes]
    return found_nchw
