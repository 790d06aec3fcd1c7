"""What is begun in one precision is finished in it, or says what it goes on in."""

import json

import pytest
import torch
from toy_training import Network, context, history, killed_at, run, same, saved_step

from pipeline.compute import device as device_module
from pipeline.compute.device import Device
from pipeline.errors import ConfigError
from pipeline.training.state import State

pytestmark = pytest.mark.contract


@pytest.fixture
def computes(monkeypatch):
    """Return a function that says which half precision this machine has, float32 for none."""

    def half(dtype):
        monkeypatch.setattr(device_module, "_half", lambda _is_cuda: dtype)

    return half


def test_a_resumed_training_keeps_its_precision_to_the_bit(tmp_path, images, computes, monkeypatch):
    computes(torch.bfloat16)
    whole = run(tmp_path / "whole", images)
    killed_at(9, monkeypatch, tmp_path / "a", images)
    # What is asked for now is for what is started over.
    resumed = run(tmp_path / "a", images, "machine.amp=false")
    assert same(resumed, whole)
    assert history(tmp_path / "a").equals(history(tmp_path / "whole"))
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["precision"] == "bfloat16"
    in_float32 = run(tmp_path / "b", images, "machine.amp=false")
    assert not same(in_float32, whole)


def test_a_machine_without_the_precision_says_so(tmp_path, images, computes, monkeypatch, caplog):
    computes(torch.bfloat16)
    killed_at(9, monkeypatch, tmp_path, images)
    computes(torch.float32)
    with pytest.raises(ConfigError, match=r"train fold 0 was done in bfloat16 until now"):
        run(tmp_path, images, "machine.half_missing=refuse")
    assert saved_step(tmp_path) == 6
    assert not caplog.text.count("goes on in float32")
    run(tmp_path, images)
    assert "train fold 0: done in bfloat16 until now, goes on in float32" in caplog.text
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["device"], manifest["precision"]) == ("cpu", "bfloat16, float32")


def test_a_training_of_version_0_3_0_goes_on_in_float32(tmp_path, images, computes, monkeypatch):
    computes(torch.bfloat16)
    whole = run(tmp_path / "whole", images, "machine.amp=false")
    killed_at(9, monkeypatch, tmp_path / "a", images, "machine.amp=false")
    path = tmp_path / "a" / "last.pt"
    state = torch.load(path, weights_only=True)
    del state["precisions"]
    torch.save(state, path)
    assert same(run(tmp_path / "a", images), whole)


@pytest.mark.parametrize(("half", "scale"), [(torch.float16, 65536), (torch.bfloat16, 1)])
def test_the_scaler_is_of_the_precision_that_goes_on(tmp_path, images, computes, half, scale):
    def state_in(dtype):
        device = Device(torch.device("cpu"), dtype, 0)
        return State(context(tmp_path, images, device=device), Network())

    computes(half)
    before = state_in(torch.float16)
    before.step = 7
    before.save()
    after = state_in(half)
    after.load()
    assert after.step == 7
    assert after.scaler.get_scale() == scale
