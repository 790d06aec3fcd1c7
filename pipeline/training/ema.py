"""Exponential moving average of a network's weights, the one that is kept and used.

EMA_t = d EMA_(t-1) + (1 - d) p_t, with the warm-up that a short schedule needs: after n steps the
decay is min(d, 1 - n^-p), so the average forgets the random start quickly. BatchNorm's mean and
variance are averaged too, which is good enough to follow a training; but averaged weights make
activations that no step has seen, so in the end both are estimated again for them.

Source: Polyak and Juditsky 1992 (averaging); Izmailov et al. 2018, section 3.2 (BatchNorm).
"""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

from pipeline.networks.build import SegmentationNetwork

WARMUP_POWER = 0.75


class Ema:
    """The average of a network, kept beside it on the same device.

    Args:
        live: The network that is trained; it starts the average.
        decay: Final decay d, 0 for a plain copy.

    Attributes:
        network: The average, in evaluation mode.
    """

    def __init__(self, live: SegmentationNetwork, decay: float) -> None:
        self.network = deepcopy(live).eval()
        self._decay = decay
        # Listed once: asking for the states in each step costs more than the averaging.
        pairs = list(
            zip(self.network.state_dict().values(), live.state_dict().values(), strict=True)
        )
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averaged, self._live = map(list, zip(*numbers, strict=True))
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the live weights after optimisation step `step`, counted from 0."""
        decay = min(self._decay, 1 - max(step, 1) ** -WARMUP_POWER)
        get_ema_multi_avg_fn(decay)(self._averaged, self._live, None)  # type: ignore[no-untyped-call]
        for ours, theirs in self._counts:
            ours.copy_(theirs)

    def estimate_statistics(self, batches: Iterable[torch.Tensor]) -> None:
        """Estimate BatchNorm's statistics again, for the averaged weights.

        Args:
            batches: Training crops on the network's device, uint8 (N, 3, S, S) each.
        """
        update_bn(batches, self.network)
        self.network.eval()
