"""What a network learns of each pixel, and the probability of an object that its answer means.

A crop's label map becomes the target, after every augmentation; logits become the probabilities of
object and touching border, whatever the target's kind.

- `ship`: one sigmoid channel, object or not.
- `ship_contact`: two sigmoid channels, object and touching border: where objects meet or nearly do.
  The second is learnt on pixels of objects and of borders alone, so it is P(border | object).
- `classes`: a softmax over background, object, and object's pixel of a touching border. One class a
  pixel: borders count on objects only, so that the last two sum up to P(object), and the gap
  between two objects stays background.

The border is what tells touching objects apart: without it and with perfect masks, F2 on images
with ships ends at 0.94.
"""

import numpy as np
import torch

from pipeline.config.schema import Targets
from pipeline.data.contact import contact

CHANNELS = {"ship": 1, "ship_contact": 2, "classes": 3}
"""Output channels for each kind of target. Those with several tell touching borders."""


def make_target(labels_hw: np.ndarray, targets: Targets) -> torch.Tensor:
    """Turn objects into what the losses compare logits with.

    Args:
        labels_hw: int32 (H, W), 0 for background, n for the n-th object.
        targets: The configuration's section.

    Returns:
        `ship`: uint8 (1, H, W) of 0 and 1. `ship_contact`: uint8 (2, H, W) of 0 and 1. `classes`:
        int64 (H, W), 0 background, 1 object, 2 object's pixel of a touching border.
    """
    object_hw = labels_hw > 0
    if targets.kind == "ship":
        return torch.from_numpy(object_hw.astype(np.uint8)[None])
    contact_hw = contact(labels_hw, targets.contact_px)
    if targets.kind == "ship_contact":
        return torch.from_numpy(np.stack([object_hw, contact_hw]).astype(np.uint8))
    return torch.from_numpy(object_hw + (object_hw & contact_hw).astype(np.int64))


def object_truth(target: torch.Tensor) -> torch.Tensor:
    """Return the pixels of objects, bool (N, 1, H, W), in a batch of targets of any kind."""
    object_nchw = target[:, :1] if target.ndim == 4 else target.unsqueeze(1)
    return object_nchw > 0


def probabilities(logits_nchw: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the probabilities of object and, where the kind has it, of touching border.

    Args:
        logits_nchw: Floating (N, C, H, W), C = CHANNELS[kind].
        kind: Of the targets they were trained on.

    Returns:
        float32 (N, 1, H, W) for the kind `ship`, else (N, 2, H, W), 0..1.
    """
    logits_nchw = logits_nchw.float()
    if kind == "classes":
        classes_nchw = logits_nchw.softmax(1)
        object_nchw = classes_nchw[:, 1:].sum(1, keepdim=True)
        return torch.cat([object_nchw, classes_nchw[:, 2:]], 1)
    found_nchw = logits_nchw.sigmoid()
    if kind == "ship_contact":
        found_nchw[:, 1] *= found_nchw[:, 0]
    return found_nchw
