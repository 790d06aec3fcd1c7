"""What `auto` decides: from the network's shapes and the device's memory, and once for a run."""

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import Network, job_in, settings

from pipeline.compute import device as devices
from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.errors import ConfigError
from pipeline.training.sizes import decide_sizes, kept_bytes

pytestmark = pytest.mark.unit

AUTO = ["crops.size_px=auto", "crops.batch_size=auto"]


def device(monkeypatch, *, gib, is_cuda=True):
    monkeypatch.setattr(Device, "free_bytes", lambda _: int(gib * 2**30))
    monkeypatch.setattr(Device, "name", "a device")
    return Device(torch.device("cuda" if is_cuda else "cpu"), torch.float32, 0)


def decided(folder, chosen, *overrides, side_px=768, processes=1):
    crops = settings(*AUTO, *overrides).crops
    return decide_sizes(
        job_in(folder), crops, Network(), chosen, side_px, processes=processes
    ).fixed_sizes()


def test_what_a_crop_keeps_is_counted_on_shapes():
    # Kept: the float images, BatchNorm's input, and the ReLU's output, which the next layer shares.
    maps = 3 + 8 + 8
    counted = kept_bytes(Network(), 64) / (64 * 64 * 4)
    assert counted == pytest.approx(maps, rel=0.01)
    assert kept_bytes(Network(), 128) == pytest.approx(4 * kept_bytes(Network(), 64), rel=0.01)
    assert kept_bytes(nn.Identity(), 64) == 0


@pytest.mark.parametrize(
    ("gib", "expected"), [(80, (768, 32)), (1.2, (768, 20)), (0.4, (512, 15)), (1e-9, (192, 1))]
)
def test_less_memory_gives_smaller_crops_and_batches(tmp_path, monkeypatch, gib, expected):
    # 19 kept values a pixel, so 43 MiB a crop of 768 px; the largest divisor of an epoch that fits.
    card = device(monkeypatch, gib=gib)
    assert decided(tmp_path, card, "crops.per_epoch=960") == expected


@pytest.mark.parametrize(
    ("gib", "processes", "expected"),
    [(80, 8, (768, 240)), (1.2, 3, (768, 60)), (0.4, 4, (768, 24)), (1e-9, 3, (192, 3))],
)
def test_each_process_of_a_group_has_a_card_to_fill(
    tmp_path, monkeypatch, gib, processes, expected
):
    # As above: 32 crops of 768 px are enough, 20 fit into 1.2 GiB, and 6 into 0.4.
    card = device(monkeypatch, gib=gib)
    found = decided(tmp_path, card, "crops.per_epoch=960", processes=processes)
    assert found == expected


def test_an_epoch_that_a_group_cannot_share_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"crops.per_epoch: 3200: expected a multiple of 3"):
        decided(tmp_path, device(monkeypatch, gib=80), processes=3)


def test_a_cpu_takes_small_crops_however_much_memory_it_has(tmp_path, monkeypatch):
    cpu = device(monkeypatch, gib=500, is_cuda=False)
    assert decided(tmp_path / "a", cpu) == (256, 8)
    assert decided(tmp_path / "b", cpu, side_px=192) == (192, 8)


def test_a_number_that_is_given_stays(tmp_path, monkeypatch):
    card = device(monkeypatch, gib=80)
    assert decided(tmp_path / "a", card, "crops.size_px=320") == (320, 32)
    assert decided(tmp_path / "b", card, "crops.batch_size=4") == (768, 4)


def test_a_run_that_goes_on_keeps_its_sizes(tmp_path, monkeypatch):
    first = decided(tmp_path, device(monkeypatch, gib=80))
    assert decided(tmp_path, device(monkeypatch, gib=0.1)) == first


def test_auto_is_refused_where_nothing_is_trained():
    with pytest.raises(ConfigError, match=r"crops: auto is decided when training begins"):
        settings(*AUTO).crops.fixed_sizes()


def test_loader_processes_follow_the_cores(monkeypatch):
    machine = load_config(Path("configs/demo.yaml"), ["machine.device=cpu"]).machine
    chosen = []
    for threads in (1, 2, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        chosen.append(devices._workers(machine, is_cuda=False))
        chosen.append(devices._workers(machine, is_cuda=True))
    assert chosen == [0, 1, 0, 2, 4, 8]
    assert devices._workers(machine.model_copy(update={"loader_workers": 3}), is_cuda=True) == 3


@pytest.mark.parametrize(("processes", "workers"), [("1", 8), ("4", 4), ("32", 1)])
def test_loader_processes_follow_the_cores_under_torchrun_too(monkeypatch, processes, workers):
    machine = load_config(Path("configs/demo.yaml"), []).machine
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert devices._workers(machine, is_cuda=True) == workers
    assert devices._workers(machine, is_cuda=False) == 0
