"""What a card computes in, and what of its memory and its cores is to be had."""

from pathlib import Path

import pytest
import torch
from toy_training import Network, context, draw_images

from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.training.state import State

pytestmark = pytest.mark.unit


def machine(*overrides):
    return load_config(Path("configs/demo.yaml"), list(overrides)).machine


@pytest.fixture
def card(monkeypatch):
    """Let torch see a CUDA card; return a function that says of which generation it is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def of(*, native):
        def supported(including_emulation=True):
            return native or including_emulation

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    return of


@pytest.mark.parametrize(("native", "half"), [(True, torch.bfloat16), (False, torch.float16)])
def test_bfloat16_that_is_emulated_does_not_count(card, native, half):
    card(native=native)
    assert Device.choose(machine()).dtype == half
    assert Device.choose(machine("machine.amp=false")).dtype == torch.float32


def state_on(folder, dtype):
    device = Device(torch.device("cpu"), dtype, 0)
    images = draw_images(folder)
    return State(context(folder, images, device=device), Network())


@pytest.mark.parametrize(
    ("saved", "loaded"), [(torch.float32, torch.float16), (torch.float16, torch.float32)]
)
def test_a_run_goes_on_in_another_precision(tmp_path, saved, loaded):
    before = state_on(tmp_path, saved)
    before.step = 7
    before.save()
    after = state_on(tmp_path, loaded)
    after.load()
    assert after.step == 7
    assert after.scaler.get_scale() == (65536 if loaded == torch.float16 else 1)


def test_memory_that_was_freed_counts_as_free(monkeypatch):
    class Cycle:
        def __init__(self):
            self.own = self

        def __del__(self):
            memory["cached"] += memory.pop("held")

    memory = {"free": 1, "cached": 2, "held": 4}

    def empty_cache():
        memory["free"] += memory.pop("cached")

    Cycle()
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (memory["free"], 9))
    assert Device(torch.device("cuda"), torch.float32, 0).free_bytes() == 7
