"""What a network learns of each pixel, and the probability of a ship that its answer means.

A label map of ships enters, after every augmentation, and the target leaves; on the way back logits
enter and the probabilities of ship and contact leave, whatever the target's kind.

- `ship`: one sigmoid channel, ship or not.
- `ship_contact`: two sigmoid channels, ship, and contact: where ships meet or nearly do. It is
  learnt on pixels of ships and of contact alone, so it is the chance of contact if a ship is there.
- `classes`: a softmax over background, ship, and ship in contact. One class a pixel: contact counts
  on ships only, so that P(ship) + P(contact) is exactly the probability of being a ship's pixel,
  and the gap between two ships stays background.

The contact between neighbours is what tells touching ships apart: without it and with perfect
masks, F2 on ship images ends at 0.94.
"""

import numpy as np
import torch

from pipeline.config.schema import Targets
from pipeline.data.contact import contact

__all__ = ["CHANNELS", "make_target", "object_truth", "probabilities"]

CHANNELS = {"ship": 1, "ship_contact": 2, "classes": 3}
"""Output channels of a network for each kind of target. Those with several tell contact."""


def make_target(labels_hw: np.ndarray, targets: Targets) -> torch.Tensor:
    """Turn ships into what the losses compare logits with.

    Args:
        labels_hw: int32 (H, W), 0 for sea, n for the n-th ship.
        targets: The configuration's section.

    Returns:
        `ship`: uint8 (1, H, W) of 0 and 1. `ship_contact`: uint8 (2, H, W) of 0 and 1. `classes`:
        int64 (H, W), 0 background, 1 ship, 2 ship in contact.
    """
    ship_hw = labels_hw > 0
    if targets.kind == "ship":
        return torch.from_numpy(ship_hw.astype(np.uint8)[None])
    contact_hw = contact(labels_hw, targets.contact_px)
    if targets.kind == "ship_contact":
        return torch.from_numpy(np.stack([ship_hw, contact_hw]).astype(np.uint8))
    return torch.from_numpy(ship_hw + (ship_hw & contact_hw).astype(np.int64))


def object_truth(target: torch.Tensor) -> torch.Tensor:
    """Return the pixels of ships, bool (N, 1, H, W), in a batch of targets of any kind."""
    ship_nchw = target[:, :1] if target.ndim == 4 else target.unsqueeze(1)
    return ship_nchw > 0


def probabilities(logits_nchw: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the probabilities of ship and, where the kind has it, of contact.

    Args:
        logits_nchw: Floating (N, C, H, W), C = CHANNELS[kind].
        kind: Of the targets they were trained on.

    Returns:
        float32 (N, 1, H, W) for the kind `ship`, else (N, 2, H, W), 0..1.
    """
    logits_nchw = logits_nchw.float()
    if kind == "classes":
        classes_nchw = logits_nchw.softmax(1)
        ship_nchw = classes_nchw[:, 1:].sum(1, keepdim=True)
        return torch.cat([ship_nchw, classes_nchw[:, 2:]], 1)
    found_nchw = logits_nchw.sigmoid()
    if kind == "ship_contact":
        found_nchw[:, 1] *= found_nchw[:, 0]
    return found_nchw
