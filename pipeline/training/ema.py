"""Exponential moving average of a network's weights, the one that is kept and used.

The lecture's EMA with the warm-up that a short schedule needs: after n steps the decay is
min(d, 1 - (1 + n)^-p), so the average forgets the random start quickly. BatchNorm's mean and
variance are averaged too, which is good enough to watch a run; but averaged weights make
activations that no step has seen, so in the end `settle` measures both anew for them
(Izmailov et al. 2018, section 3.2).
"""

# The import of pipeline.networks readies torchvision, which timm imports.
from pipeline.networks.build import SegmentationNetwork  # isort: skip

from collections.abc import Iterable

import torch
from timm.utils import ModelEmaV3
from torch.optim.swa_utils import update_bn

__all__ = ["Ema"]

WARMUP_POWER = 0.75


class Ema:
    """The average of a network, kept beside it on the same device.

    Args:
        network: Starts the average.
        decay: Final decay d, 0 for a plain copy.
    """

    def __init__(self, network: SegmentationNetwork, decay: float) -> None:
        self._average = ModelEmaV3(network, decay=decay, use_warmup=True, warmup_power=WARMUP_POWER)

    @property
    def network(self) -> SegmentationNetwork:
        """The averaged network, in evaluation mode."""
        network: SegmentationNetwork = self._average.module
        return network

    @torch.no_grad()
    def update(self, network: SegmentationNetwork, step: int) -> None:
        """Take in the weights after optimisation step `step`, counted from 0."""
        self._average.update(network, step=step)

    def settle(self, batches: Iterable[torch.Tensor]) -> None:
        """Measure BatchNorm's statistics for the averaged weights.

        Args:
            batches: Training crops on the network's device, uint8 (N, 3, S, S) each.
        """
        update_bn(batches, self.network)
        self.network.eval()
