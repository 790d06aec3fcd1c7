"""The EMA: its warm-up, its decay, and what it does with counters."""

import pytest
import torch
from torch import nn

from pipeline.training.ema import Ema

pytestmark = pytest.mark.unit


def test_it_is_the_average_of_the_formula():
    live = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    ema = Ema(live, decay=0.6)
    expected = live[0].weight.detach().clone()
    for step in range(8):
        with torch.no_grad():
            live[0].weight.add_(1 + step)
            live[1].num_batches_tracked.add_(1)
        ema.update(step)
        # The decay grows as 1 - n^-3/4, from a plain copy, until it reaches 0.6.
        decay = [0, 0, 0.405, 0.561, 0.6, 0.6, 0.6, 0.6][step]
        expected = decay * expected + (1 - decay) * live[0].weight.detach()
        assert torch.allclose(ema.network[0].weight, expected, rtol=1e-3)
    assert ema.network[1].num_batches_tracked == 8
    assert not ema.network.training


def test_decay_zero_is_a_copy():
    live = nn.Linear(3, 3)
    ema = Ema(live, decay=0.0)
    for step in range(4):
        nn.init.normal_(live.weight)
        ema.update(step)
    assert torch.equal(ema.network.weight, live.weight)
