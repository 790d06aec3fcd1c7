"""Whatever ends a training, the next one resumes from it, or the message says what to do."""

import errno
import json
import logging
import os
import signal

import pytest
import torch
from torch import nn
from toy_training import (
    STEPS,
    Network,
    at_step,
    context,
    dataset,
    history,
    killed_at,
    run,
    same,
    saved_step,
)

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.data.tiles import CropDataset
from pipeline.errors import ArtifactError, ConfigError, DataError, Stopped
from pipeline.jobs.command import exit_codes
from pipeline.training.batches import crop_batches
from pipeline.training.ema import Ema
from pipeline.training.signals_and_faults import StopRequest

pytestmark = pytest.mark.contract

EACH_STEP = "machine.checkpoint_minutes=1.0e-9"


@pytest.mark.parametrize(
    ("often", "step"), [([], 2), ([], 7), ([], 17), ([EACH_STEP], 1), ([EACH_STEP], 10)]
)
def test_a_killed_run_ends_with_the_bits_of_an_unbroken_one(
    tmp_path, images, monkeypatch, often, step
):
    whole = run(tmp_path / "whole", images, network=Network(dropout=0.3))
    folder = tmp_path / "broken"
    killed_at(step, monkeypatch, folder, images, *often, network=Network(dropout=0.3))
    kept = step if often else step // STEPS * STEPS
    assert (folder / "last.pt").exists() == (kept > 0)
    if kept:
        assert saved_step(folder) == kept
    assert same(run(folder, images, network=Network(dropout=0.3)), whole)
    assert history(tmp_path / "whole").equals(history(folder))


def test_a_run_killed_while_statistics_are_estimated_ends_with_the_same_bits(
    tmp_path, images, monkeypatch
):
    def network():
        """With dropout before BatchNorm, whose statistics depend on it."""
        made = Network()
        made.layers.insert(0, nn.Dropout(0.3))
        return made

    whole = run(tmp_path / "whole", images, network=network())

    def die(self, batches):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ema, "estimate_statistics", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "a", images, EACH_STEP, network=network())
    assert saved_step(tmp_path / "a") == 3 * STEPS
    assert same(run(tmp_path / "a", images, network=network()), whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_with_a_code_of_its_own(tmp_path, images, monkeypatch, number):
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        at_step(patched, 8, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Stopped, match=f"stopped by {number.name} after step 9"):
            run(tmp_path / "a", images)
    assert saved_step(tmp_path / "a") == 9
    assert signal.getsignal(number) == before
    assert same(run(tmp_path / "a", images), run(tmp_path / "whole", images))


def test_a_stopped_stage_says_how_to_go_on(caplog):
    with pytest.raises(SystemExit, match="75"), exit_codes():
        raise Stopped("train fold 0: stopped by SIGTERM.")
    assert "Run the same command again" in caplog.text


def test_only_a_second_ctrl_c_ends_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == "SIGTERM"
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, images, monkeypatch):
    killed_at(STEPS, monkeypatch, tmp_path / "a", images)
    with pytest.raises(
        ArtifactError,
        match=r"last.pt: unfinished work for something else: config.x was",
    ):
        run(tmp_path / "a", images, wanted="b")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused(tmp_path, images, monkeypatch, damage):
    killed_at(STEPS, monkeypatch, tmp_path / "a", images)
    path = tmp_path / "a" / "last.pt"
    whole = bytearray(path.read_bytes())
    if damage == "flip":
        middle = len(whole) // 2
        for place in range(middle, middle + 128):  # more than what may lie unused between tensors
            whole[place] ^= 255
    path.write_bytes({"cut": whole[:-200], "flip": whole, "empty": b""}[damage])
    with pytest.raises(
        ArtifactError, match=r"last.pt: damaged checkpoint .*--from train --restart"
    ):
        run(tmp_path / "a", images)


def test_a_full_disk_leaves_the_state_before(tmp_path, images, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        at_step(patched, 8, lambda: patched.setattr(os, "fsync", full))
        with pytest.raises(ArtifactError, match=r"last.pt: the disk is full"):
            run(tmp_path / "a", images, EACH_STEP)
    assert saved_step(tmp_path / "a") == 8
    assert same(run(tmp_path / "a", images), run(tmp_path / "whole", images))


def poisoned(monkeypatch, steps):
    """Give the logits of some steps an infinite value."""
    forward, count = Network.forward, [0]

    def infinite(self, images):
        prediction = forward(self, images)
        if not self.training:
            return prediction
        count[0] += 1
        spoiled = float("inf") if count[0] - 1 in steps else 1.0
        return prediction._replace(logits_nchw=prediction.logits_nchw * spoiled)

    monkeypatch.setattr(Network, "forward", infinite)


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path, images, monkeypatch):
    poisoned(monkeypatch, {3, 7, 8})
    weights = run(tmp_path / "a", images)
    assert history(tmp_path / "a").skipped_steps.tolist() == [1, 2, 0]
    assert history(tmp_path / "a").notna().all(axis=None)
    assert all(torch.isfinite(values).all() for values in weights.values())


def test_a_gradient_scaler_halves_its_scale_and_changes_nothing_else(tmp_path, images, monkeypatch):
    with monkeypatch.context() as patched:
        poisoned(patched, {3})
        plain = run(tmp_path / "plain", images)
    poisoned(monkeypatch, {3})
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    monkeypatch.setattr(Device, "scaler", lambda _: scaler)
    monkeypatch.setattr(Device, "scales", True)
    # A power of two is scaled by, and unscaled, without rounding.
    assert same(run(tmp_path / "scaled", images), plain)
    assert history(tmp_path / "scaled").equals(history(tmp_path / "plain"))
    assert history(tmp_path / "scaled").skipped_steps.tolist() == [1, 0, 0]
    saved = torch.load(tmp_path / "scaled" / "last.pt", weights_only=True)["scaler"]
    assert (saved["scale"], saved["_growth_tracker"]) == (512.0, 3 * STEPS - 4)


def test_gradients_that_stay_not_finite_stop_and_name_the_images(tmp_path, images, monkeypatch):
    poisoned(monkeypatch, set(range(STEPS, 2 * STEPS)))
    with pytest.raises(ArtifactError, match=r"6 steps in a row.*not_finite.json.*train.learning"):
        run(tmp_path / "a", images)
    named = json.loads((tmp_path / "a" / "not_finite.json").read_text())
    assert named["step"] == 2 * STEPS
    assert len(named["images"]) == 4
    assert set(named["images"]) <= {str(path) for path in images[0]}
    assert saved_step(tmp_path / "a") == STEPS


def small_memory(monkeypatch, fits):
    """Let no more than so many crops into the network at once while it trains."""
    forward = Network.forward

    def limited(self, images):
        if torch.is_grad_enabled() and len(images) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return forward(self, images)

    monkeypatch.setattr(Network, "forward", limited)


def test_memory_that_ends_halves_the_parts_of_a_batch(tmp_path, images, monkeypatch, caplog):
    small_memory(monkeypatch, 1)
    caplog.set_level(logging.WARNING)
    run(tmp_path / "a", images)
    assert "4 crops of 24 px in 1 part(s) do not fit into the memory of cpu" in caplog.text
    assert "From step 0 on a batch is computed in 4 parts of 1" in caplog.text
    assert torch.load(tmp_path / "a" / "last.pt", weights_only=True)["parts"] == 4


@pytest.mark.parametrize(("accumulate", "wanted"), [("1", "2"), ("auto", "8")])
def test_memory_that_does_not_suffice_names_the_settings(
    tmp_path, images, monkeypatch, accumulate, wanted
):
    small_memory(monkeypatch, 0)
    with pytest.raises(ConfigError, match=r"crops.batch_size: 4 crops of 24 px .*9 GiB") as error:
        run(tmp_path / "a", images, f"machine.accumulate={accumulate}")
    assert f"machine.accumulate={wanted}" in str(error.value)


def test_a_batch_in_parts_has_the_gradients_of_the_whole(tmp_path, images):
    # Without BatchNorm and with a loss that is a mean over pixels nothing else differs.
    options = [
        "train.loss=[{name: bce, weight: 1.0, label_smoothing: 0.0}]",
        "machine.amp=false",
    ]
    whole = run(tmp_path / "1", images, *options, network=Network(norm=False))
    options.append("machine.accumulate=2")
    parts = run(tmp_path / "2", images, *options, network=Network(norm=False))
    for name, values in whole.items():
        assert torch.allclose(values, parts[name], atol=1e-4), name


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            lambda network: network.training,
            "4 crops of 24 px, to estimate the average.s BatchNorm statistics on, do not",
        ),
        (
            lambda network: not network.training,
            "4 validation images, 2304 px of them at a time, do",
        ),
    ],
)
def test_memory_that_ends_outside_a_step_names_the_settings(
    tmp_path, images, monkeypatch, where, said
):
    forward = Network.forward

    def limited(self, images):
        if not torch.is_grad_enabled() and where(self):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return forward(self, images)

    monkeypatch.setattr(Network, "forward", limited)
    with pytest.raises(ConfigError, match=f"crops.batch_size: {said}") as error:
        run(tmp_path / "a", images, "train.epochs=1")
    assert "9 GiB). Set machine.accumulate=2, if that divides the batch" in str(error.value)


def test_the_average_sees_no_more_pixels_at_a_time_than_a_part_of_a_step(
    tmp_path, images, monkeypatch
):
    seen, forward = set(), Network.forward

    def watched(self, images):
        if not torch.is_grad_enabled():
            seen.add((self.training, images.shape[0]))
        return forward(self, images)

    monkeypatch.setattr(Network, "forward", watched)
    run(tmp_path / "whole", images)
    whole = history(tmp_path / "whole")
    # 4 crops of 24 px have the pixels of two images of 32 px.
    assert seen == {(True, 4), (False, 2)}
    seen.clear()
    run(tmp_path / "parts", images, "machine.accumulate=2")
    assert seen == {(True, 2), (False, 1)}
    monkeypatch.setattr(torch.Tensor, "chunk", lambda whole, _count: (whole,))
    run(tmp_path / "unsplit", images)
    assert (history(tmp_path / "unsplit") - whole).abs().max(axis=None) < 1e-5


class Absent(Group):
    """A group whose other processes never come."""

    def shared(self, network, device):
        return network

    def decided(self, decide):
        return decide()

    def any(self, flag):
        return flag


def test_parts_that_are_not_alike_are_refused(tmp_path, images, monkeypatch):
    monkeypatch.setattr(Group, "current", lambda: Absent(0, 2))
    refused = r"crops.batch_size: 4: expected a multiple of 8.*accumulate=4 .* each of 2 proc"
    with pytest.raises(ConfigError, match=refused):
        run(tmp_path / "a", images, "machine.accumulate=4")
    with monkeypatch.context() as alone:
        alone.setattr(Group, "current", Group)
        small_memory(alone, 1)
        killed_at(STEPS, alone, tmp_path / "a", images)
    with pytest.raises(ConfigError, match=refused):
        run(tmp_path / "a", images)
    with pytest.raises(ConfigError, match=r"multiple of 6.*accumulate=3 "):
        run(tmp_path / "b", images, "machine.accumulate=3")


@pytest.mark.parametrize("first", [True, 2 * STEPS])
def test_processes_that_do_not_share_a_state_are_told(tmp_path, images, monkeypatch, first):
    if first is not True:
        killed_at(STEPS, monkeypatch, tmp_path / "a", images)
    # The first process has a state, of another step.
    monkeypatch.setattr(Absent, "decided", lambda _, decide: first)
    monkeypatch.setattr(Group, "current", lambda: Absent(1, 2))
    with pytest.raises(ArtifactError, match=r"last.pt: "):
        run(tmp_path / "a", images)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_becomes_unreadable_is_named_and_the_state_saved(
    tmp_path, images, monkeypatch, workers
):
    paths, ships = images
    copies = [tmp_path / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())

    def damage():
        for copy in copies:
            copy.write_bytes(b"gone bad")

    crops = dataset((copies, ships))
    at_step(monkeypatch, 8, damage)
    with pytest.raises(
        DataError, match=r"^\S+\d.png: expected .* not decodable: 8 bytes.*again\.$"
    ):
        run(tmp_path / "a", images, f"machine.loader_workers={workers}", crops=crops)
    assert saved_step(tmp_path / "a") >= 9


class Deadly(CropDataset):
    def __getitem__(self, key):
        if key == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(key)


def test_a_loader_process_that_dies_during_a_step_is_named(tmp_path, images, monkeypatch):
    def die():
        # As torch's handler of SIGCHLD does, wherever the main thread is.
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    at_step(monkeypatch, 8, die)
    with pytest.raises(ConfigError, match=r"machine.loader_workers: one of the 1 loader proc"):
        run(tmp_path / "a", images, "machine.loader_workers=1")


@pytest.mark.parametrize("index", [0, 9])
def test_a_killed_loader_process_is_named(tmp_path, images, index):
    crops = dataset(images)
    crops.__class__, crops.last = Deadly, (0, index)
    batches = crop_batches(context(tmp_path, images, "machine.loader_workers=1", crops=crops), 0)
    with pytest.raises(ConfigError, match=r"machine.loader_workers: one of the 1 loader processes"):
        list(batches)
