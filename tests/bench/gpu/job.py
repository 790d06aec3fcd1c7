"""What the parts have in common: the job, and a clock that waits for the card."""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline.config.load import load_config
from tests.bench.sizes import sized
from tests.bench.training import JOB, Bench

# The network of configs/airbus.yaml on whole images, as it is fine-tuned there.
CARD = [
    "network={arch: unet, encoder: resnet34, weights: none, options: {}}",
    *("crops.size_px=768", "crops.batch_size=16"),
]
SMALL = ["machine.device=cpu", "crops.size_px=64", "crops.batch_size=2"]
TINY = sized(
    (),
    ["network={arch: unet_original, encoder: null, weights: none, options: {width: 4, depth: 1}}"],
)
"""In the small size, for what takes long with any encoder."""

SECONDS = sized(4, 0)
"""What one measurement takes, about."""


@contextmanager
def training_job(*overrides):
    """Yield the job of `tests.bench.training` at the size that a card is bought for."""
    with job_of("configs/demo.yaml", *JOB, *sized(CARD, ()), *overrides) as bench:
        yield bench


@contextmanager
def job_of(config, *overrides):
    """Yield a configuration's job, on the synthetic images."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [*overrides, *sized((), SMALL)]
        yield Bench(load_config(Path(config), changes), Path(folder))


def call_s(call, *, seconds=SECONDS):
    """Return the seconds of a call: of as many as `seconds` hold, with the device waited for."""
    for _ in range(3):
        call()
    count = int(min(max(seconds / _calls_s(call, 1), 1), 1000))
    return _calls_s(call, count) / count


def _calls_s(call, count):
    wait()
    started = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return time.perf_counter() - started


def wait():
    """Wait until the card has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
