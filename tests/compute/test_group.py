"""Several processes with a share of each batch compute what one does with the whole.

TOLERANCE is how far weights may be apart after 18 steps, relative to the largest of their tensor:
float32 rounds a sum of halves otherwise than a sum, and Adam carries that on. Measured: 5.3e-5.
"""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import forked
import pandas as pd
import pytest
import torch
from torch import nn
from toy_training import context, draw_images
from waiting import wait_until

from pipeline.compute import batchnorm
from pipeline.compute.group import Group
from pipeline.errors import ConfigError
from pipeline.jobs.tasks import Processes, Task
from pipeline.networks.build import Prediction
from pipeline.training.batches import crop_batches
from pipeline.training.loop import train

pytestmark = pytest.mark.contract

TOLERANCE = 3e-4
MEMBER = Path(__file__).with_name("group_member.py")


class Network(nn.Module):
    """BatchNorm behind a convolution, an image head, and weights that nothing uses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 1, 1),
        )
        self.image_head, self.unused = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, images):
        hidden = self.layers[:3](images.float() / 255)
        return Prediction(self.layers[3](hidden), self.image_head(hidden.mean((2, 3))).squeeze(1))


def train_once(folder, *overrides):
    """Train as the group that the environment names, or alone."""
    folder.mkdir(exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    images = draw_images(folder / "images")
    in_float32 = ["image_head.weight=0.5", "machine.amp=false", *overrides]
    train(context(folder, images, *in_float32), Network())


HERE = Path(__file__).parent
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{Path.cwd()}:{HERE.parent}:{HERE}"}


def weights(folder):
    return torch.load(folder / "final.pt", weights_only=True)["model"]


def assert_close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        apart = (ours[name] - value).abs().max() / value.abs().max().clamp(min=1e-6)
        assert apart <= TOLERANCE, f"{name}: {apart}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    train_once(folder)
    return folder


def test_two_processes_give_the_result_of_one(tmp_path, alone):
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    environment = os.environ | ENVIRONMENT
    members = forked.start_group(Path.cwd(), environment, logs, "group_member", f"{tmp_path}/two")
    for member, log in zip(members, logs, strict=True):
        member.join(280)
        assert member.exitcode == 0, log.read_text()
    assert_close(weights(tmp_path / "two"), weights(alone))
    ours, theirs = (pd.read_csv(folder / "history.csv") for folder in (tmp_path / "two", alone))
    same = [name for name in theirs if not name.endswith("_s")]
    assert ours.columns.tolist() == theirs.columns.tolist()
    assert (
        ((ours[same] - theirs[same]).abs() <= TOLERANCE * theirs[same].abs().clip(1))
        .to_numpy()
        .all()
    )
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["metrics"]


def test_statistics_of_a_group_are_float32_in_half_precision(monkeypatch):
    monkeypatch.setattr(batchnorm, "_gathered", lambda own: own.unsqueeze(0))
    images = (torch.randn(4, 8, 6, 6) + 30).bfloat16()
    ours, torchs = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    with batchnorm.WholeBatchStatistics():
        found = ours(images)
    expected = torchs(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected.float(), atol=2**-6)
    assert torch.allclose(ours.running_mean, torchs.running_mean)
    assert torch.allclose(ours.running_var, torchs.running_var)


def test_processes_of_different_precision_are_refused(tmp_path, monkeypatch):
    alone = context(tmp_path, draw_images(tmp_path), "machine.amp=false")
    # No state is saved; the leader, elsewhere, computes in half precision.
    monkeypatch.setattr(Group, "decided", lambda _, decide: decide() and "bfloat16")
    with pytest.raises(ConfigError, match=r"same precision, got float32 in one of them"):
        train(alone, Network())


def test_two_nodes_stopped_on_the_way_are_gone_on_with_by_one_process(tmp_path, alone):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder = tmp_path / "nodes"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    address = ["--master-addr", "127.0.0.1", "--master-port", port, "--nproc-per-node", "1"]
    often = "machine.checkpoint_minutes=0.0001"
    nodes = [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(node), *address, str(MEMBER), str(folder), often],
            env=os.environ | ENVIRONMENT,
        )
        for node in (0, 1)
    ]
    wait_until((folder / "last.pt").exists, within_s=280)
    nodes[1].terminate()
    # torchrun's own codes: of the signal that it was sent, and of a process that failed.
    assert [node.wait(timeout=200) for node in nodes] == [1, 1]
    assert not (folder / "final.pt").exists()
    train_once(folder)
    assert_close(weights(folder), weights(alone))


FAILING = """
import time
import torch.distributed as dist
from pipeline.jobs.command import exit_codes
from pipeline.config.machine import Machine
from pipeline.errors import DataError
from pipeline.jobs.tasks import end_with_parent
from pipeline.compute.group import Group

end_with_parent()
# As NCCL may, which waits for the others.
dist.destroy_process_group = lambda: time.sleep(250)
with exit_codes(), Group.joined(Machine.model_construct(device="cpu")) as group, exit_codes():
    if group.rank == 1:
        raise DataError("7.jpg: gone bad")
    group.any(flag=False)
"""


def test_a_process_that_fails_ends_and_so_do_the_others(tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    task = Task("", "", "", ("failing",), tmp_path / "log", tmp_path / "told", 2)
    work = Processes(task, ENVIRONMENT)
    wait_until(lambda: work._members[1].exitcode is not None, within_s=280)
    ended = time.monotonic()
    wait_until(lambda: work._members[0].exitcode is not None, within_s=280)
    assert time.monotonic() - ended < 10
    assert [member.exitcode for member in work._members] == [1, 2]
    told = (tmp_path / "log").read_text()
    assert "7.jpg: gone bad" in told
    assert "process 0 of the group failed\nTraceback" in told


def test_a_batch_that_the_group_does_not_divide_is_refused(tmp_path):
    alone = context(tmp_path, draw_images(tmp_path))
    batches = crop_batches(replace(alone, group=Group(0, 3)), 0)
    with pytest.raises(ConfigError, match=r"crops.batch_size: 4: expected a multiple of 3"):
        next(batches)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_shares_of_a_batch_are_the_batch(tmp_path, size):
    alone = context(tmp_path, draw_images(tmp_path), "train.epochs=2")

    def batches(group):
        return crop_batches(replace(alone, group=group), 3)

    whole = list(batches(Group()))
    assert len(whole) == 9
    for batch, *shares in zip(whole, *(batches(Group(k, size)) for k in range(size)), strict=True):
        for name, value in batch.items():
            assert torch.equal(torch.cat([share[name] for share in shares]), value)
