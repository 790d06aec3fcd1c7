"""What computes the network: blocks that are computed again, and compiling."""

import pytest
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from toy_training import Network, run, same

from pipeline.config.networks import Network as Section
from pipeline.errors import ConfigError
from pipeline.networks.build import build_network
from pipeline.training.forward import recompute_blocks

pytestmark = pytest.mark.unit


def trained(*, again, of_group=False):
    torch.manual_seed(0)
    section = Section(arch="unet", encoder="resnet18", weights="none", options={})
    network = build_network(section, channels=1).train()
    if of_group:
        network = convert_sync_batchnorm(network)
    names = list(network.state_dict())
    if again:
        assert recompute_blocks(network) == 8 + 5  # of the encoder's stages and of the decoder
        assert list(network.state_dict()) == names
    kept = []

    def keep(tensor):
        kept.append(tensor.nbytes)
        return tensor

    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(images).logits_nchw.square().mean()
    loss.backward()
    gradients = {name: values.grad for name, values in network.named_parameters()}
    return gradients, dict(network.named_buffers()), sum(kept)


@pytest.mark.parametrize("of_group", [False, True])
def test_blocks_computed_again_give_the_same_gradients_from_less_memory(of_group):
    gradients, statistics, kept_bytes = trained(again=False, of_group=of_group)
    gradients_again, statistics_again, kept_again = trained(again=True, of_group=of_group)
    assert same(gradients_again, gradients)
    assert same(statistics_again, statistics)
    assert kept_again < kept_bytes / 2


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ConfigError, match=r"machine.checkpoint_activations: true: this network"):
        recompute_blocks(nn.Conv2d(3, 3, 1))


def test_a_compiled_network_trains_the_weights(tmp_path, images, monkeypatch, caplog):
    compiled = []

    def compile_now(network):
        compiled.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compile_now)
    caplog.set_level("INFO")
    plain = run(tmp_path / "a", images, "train.epochs=1")
    network = Network()
    weights = run(tmp_path / "b", images, "train.epochs=1", "machine.compile=true", network=network)
    assert compiled == [network]
    assert same(weights, plain)
    assert "train fold 0: compiled in 0 s" in caplog.text


def test_a_network_that_cannot_be_compiled_says_so(tmp_path, images, monkeypatch):
    def refuse(_batch):
        raise TorchDynamoException("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda _network: refuse)
    with pytest.raises(ConfigError, match=r"machine.compile: true: .*no C\+\+ compiler.*=false"):
        run(tmp_path / "a", images, "machine.compile=true")
