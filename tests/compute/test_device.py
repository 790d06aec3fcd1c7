"""What a processor or a card computes in, and what of its memory and its cores is to be had."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.compute import device as device_module
from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.data.targets import probabilities

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


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512_bf16 amx_bf16 amx_tile", torch.bfloat16),
        ("avx512f avx512_bf16", torch.float32),  # half of it gains nothing
        (None, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_amx(tmp_path, monkeypatch, flags, expected):
    facts = tmp_path / "cpuinfo"
    if flags is not None:
        facts.write_text(f"model name\t: some\nflags\t\t: fpu {flags} fsrm\nbogomips\t: 5199\n")
    monkeypatch.setattr(device_module, "Path", lambda _path: facts)
    assert Device.choose(machine("machine.device=cpu")).dtype == expected
    without = Device.choose(machine("machine.device=cpu", "machine.amp=false"))
    assert str(without) == "cpu in float32"


def test_half_precision_stays_out_of_what_it_would_spoil():
    bf16 = Device(torch.device("cpu"), torch.bfloat16, 0)
    images_nchw = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last) + 30
    convolution, norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, momentum=1.0)
    with bf16.autocast():
        hidden = convolution(images_nchw)
        normed = norm(hidden)
    assert hidden.dtype == normed.dtype == torch.bfloat16
    assert norm.running_mean.dtype == norm.weight.dtype == torch.float32
    assert torch.allclose(norm.running_mean, hidden.float().mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(norm.running_var, hidden.float().var((0, 2, 3)), rtol=1e-3)
    assert probabilities(normed, "object").dtype == torch.float32
    normed.float().square().mean().backward()
    assert convolution.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resampling_rounds_once(mode):
    halves = torch.randn(2, 8, 7, 7).bfloat16().to(memory_format=torch.channels_last)
    exact = functional.interpolate(halves.float(), scale_factor=4, mode=mode)
    with Device(torch.device("cpu"), torch.bfloat16, 0).autocast():
        found = functional.interpolate(halves, scale_factor=4, mode=mode)
    assert (found.float() - exact).abs().max() <= 2**-8 * exact.abs().max()


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
