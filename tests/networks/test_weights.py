"""Start weights: in the right layers, all of them, or an error that says what to do."""

import logging

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from pipeline.config.networks import Network
from pipeline.errors import ConfigError, DataError
from pipeline.networks import weight_files
from pipeline.networks.build import build_network

RESNET = "resnet18"
TINY = "tu-test_resnet"
create_timm = weight_files.timm.create_model  # timm may be imported only after pipeline.networks


@pytest.fixture(scope="module")
def official():
    """A ResNet-18 in torchvision's own layout, numbers from a seed."""
    from torchvision.models import resnet18

    torch.manual_seed(1)
    return resnet18(weights=None).state_dict()


def section(weights, encoder=RESNET, arch="unet", **options):
    if arch == "unet":  # a narrow decoder: the encoder's weights are what is looked at
        options = {"decoder_channels": [8, 8, 8, 8, 8]} | options
    return Network(arch=arch, encoder=encoder, weights=str(weights), options=options)


def saved(path, state):
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.unit
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_an_official_file_lands_in_the_encoder(tmp_path, official, caplog, name):
    path = saved(tmp_path / name, official)
    with caplog.at_level(logging.INFO):
        network = build_network(section(path), 1)
    own = network.body.encoder.state_dict()
    assert own.keys() == official.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[key], official[key]) for key in own)
    assert "120 tensors, 11,186,132 numbers into the encoder; left over: fc (2)" in caplog.text
    assert "sha256" in caplog.text


@pytest.mark.unit
def test_the_encoder_computes_what_the_official_network_does(tmp_path, official):
    from torchvision.models import resnet18

    theirs = resnet18(weights=None)
    theirs.load_state_dict(official)
    encoder = build_network(section(saved(tmp_path / "a.pth", official)), 1).body.encoder
    theirs.fc = torch.nn.Identity()
    image = torch.randn(1, 3, 64, 64)
    deep = encoder.eval()(image)[-1].mean((2, 3))
    assert torch.allclose(deep, theirs.eval()(image), atol=1e-5)


@pytest.mark.unit
def test_files_older_than_batchnorms_counter_are_complete(tmp_path, official):
    old = {key: value for key, value in official.items() if "num_batches" not in key}
    encoder = build_network(section(saved(tmp_path / "a.pth", old)), 1).body.encoder
    assert encoder.conv1.weight.equal(official["conv1.weight"])


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer3.0.conv1.weight": None}, r"layer3\.0\.conv1\.weight is missing"),
        ({"layer9": torch.zeros(1)}, "layer9 belongs nowhere"),
        (
            {"conv1.weight": torch.zeros(64, 1, 7, 7)},
            r"conv1\.weight is \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)",
        ),
    ],
)
def test_nothing_missing_and_nothing_unexpected_is_accepted(tmp_path, official, change, message):
    state = {key: value for key, value in (official | change).items() if value is not None}
    path = saved(tmp_path / "a.pth", state)
    with pytest.raises(ConfigError, match=rf"a\.pth, as the encoder resnet18, .*{message}"):
        build_network(section(path), 1)


@pytest.mark.unit
def test_the_file_of_another_encoder_is_refused(tmp_path, official):
    path = saved(tmp_path / "a.pth", official)
    with pytest.raises(
        ConfigError, match=r"as the encoder resnet34, .* and \d+ more\. Give the file"
    ):
        build_network(section(path, "resnet34"), 1)


@pytest.mark.unit
@pytest.mark.parametrize("depth", [3, 5])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_file_of_timms_lands_in_an_encoder_of_any_depth(tmp_path, caplog, name, depth):
    torch.manual_seed(1)
    whole = create_timm(name)
    path = saved(tmp_path / "a.safetensors", whole.state_dict())
    with caplog.at_level(logging.INFO):
        network = build_network(section(path, f"tu-{name}", "fpn", encoder_depth=depth), 1)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = network.body.encoder.eval()(image)[-1]
        levels = whole.eval().forward_intermediates(image, intermediates_only=True)
    same = [level for level in levels if level.shape == ours.shape]
    assert ours.shape[-1] == 64 // 2**depth
    assert any(torch.allclose(level, ours, atol=1e-5) for level in same)
    assert "into the encoder; left over: " in caplog.text


@pytest.mark.unit
def test_a_whole_network_is_loaded_and_nothing_is_random(tmp_path, caplog):
    first = build_network(section("none", TINY), 1).state_dict()
    for key in ("model", "ema"):
        path = saved(tmp_path / f"{key}.pt", {key: first, "epoch": 3})
        with caplog.at_level(logging.INFO):
            second = build_network(section(path, TINY), 1).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert "into the whole network; left over: nothing; nothing random" in caplog.text


@pytest.mark.unit
def test_a_whole_network_of_another_kind_is_refused(tmp_path):
    first = build_network(section("none", TINY), 1).state_dict()
    path = saved(tmp_path / "a.pt", {"model": first})
    with pytest.raises(ConfigError, match="as a whole linknet, does not fit"):
        build_network(section(path, TINY, "linknet"), 1)


@pytest.mark.unit
def test_a_whole_network_without_an_encoder_loads(tmp_path):
    options = {"width": 4, "depth": 2}
    first = build_network(section("none", None, "unet_original", **options), 1).state_dict()
    path = saved(tmp_path / "a.pt", {"model": first})
    second = build_network(section(path, None, "unet_original", **options), 1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.unit
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_broken_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: cannot read weights: .*Get it again"):
        build_network(section(tmp_path / name, TINY), 1)


@pytest.mark.unit
def test_a_file_of_more_than_tensors_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected only tensors, got also epoch"):
        build_network(section(saved(tmp_path / "a.pt", {"epoch": 3}), TINY), 1)
    with pytest.raises(DataError, match="expected named tensors, got list"):
        build_network(section(saved(tmp_path / "b.pt", [3]), TINY), 1)


@pytest.mark.unit
@pytest.mark.parametrize("encoder", [RESNET, TINY])
def test_without_a_network_imagenet_says_how_to_get_the_file(monkeypatch, encoder):
    def offline(*arguments, **options):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(weight_files, "hf_hub_download", offline)
    with pytest.raises(ConfigError) as caught:
        build_network(section("imagenet", encoder), 1)
    message = str(caught.value)
    assert f"curl -fL --create-dirs -o weights/{encoder}.safetensors https://huggingface" in message
    assert f"set network.weights=weights/{encoder}.safetensors" in message


@pytest.mark.unit
def test_imagenet_loads_the_downloaded_file(tmp_path, monkeypatch, official):
    path = saved(tmp_path / "model.safetensors", official)
    asked = []

    def download(repository, name, *, revision, local_files_only=False):
        asked.append((repository, name))
        return str(path)

    monkeypatch.setattr(weight_files, "hf_hub_download", download)
    encoder = build_network(section("imagenet"), 1).body.encoder
    assert asked == [("smp-hub/resnet18.imagenet", "model.safetensors")]
    assert encoder.layer4[1].conv2.weight.equal(official["layer4.1.conv2.weight"])


@pytest.mark.unit
def test_an_encoder_without_imagenet_weights_says_so():
    with pytest.raises(ConfigError, match="no such weights for encoder dpn68b"):
        build_network(section("imagenet", "dpn68b", "fpn"), 1)


@pytest.mark.unit
def test_random_weights_are_announced(caplog):
    with caplog.at_level(logging.INFO):
        build_network(section("none", TINY), 1)
    assert "network.weights: none: unet starts from random weights" in caplog.text


@pytest.mark.contract
def test_an_official_vgg_gives_fcn_its_classifier_too(tmp_path, caplog, monkeypatch):
    """vgg11's file, its fully connected layers stored as one repeated number."""
    # The 119 million numbers that the file replaces need not be drawn first.
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)
    from torchvision.models import vgg11

    state = vgg11(weights=None, init_weights=False).features.state_dict()
    state = {f"features.{name}": torch.rand_like(value) for name, value in state.items()}
    for index, shape in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (1000, 4096))):
        state[f"classifier.{index}.weight"] = torch.full((1, 1), index + 0.5).expand(shape)
        state[f"classifier.{index}.bias"] = torch.full((1,), index + 0.25).expand(shape[0])
    path = saved(tmp_path / "vgg11.pth", state)
    with caplog.at_level(logging.INFO):
        body = build_network(section(path, "vgg11", "fcn8s"), 1).body
    assert body.encoder.features[3].weight.equal(state["features.3.weight"])
    assert (body.fc6.weight == 0.5).all()
    assert (body.fc7.bias == 3.25).all()
    assert "and 4 of the classifier as convolutions; left over: classifier (2)" in caplog.text
    narrow = build_network(section(path, "vgg11", "fcn8s", fc_channels=8), 1).body
    assert narrow.encoder.features[3].weight.equal(state["features.3.weight"])


@pytest.mark.contract
def test_a_hidden_layer_becomes_a_convolution_that_computes_the_same():
    from pipeline.networks.architectures.fcn import Fcn

    fcn = Fcn("vgg11", 1, 32, fc_channels=6)
    hidden = torch.nn.Linear(512 * 49, 6), torch.nn.Linear(6, 6)
    state = {
        f"classifier.{3 * i}.{kind}": value
        for i, layer in enumerate(hidden)
        for kind, value in layer.state_dict().items()
    }
    assert len(fcn.take_classifier(state)) == 4
    features = torch.randn(2, 512, 7, 7)
    ours = torch.nn.functional.conv2d(features, fcn.fc6.weight, fcn.fc6.bias)
    assert torch.allclose(ours.flatten(1), hidden[0](features.flatten(1)), atol=1e-4)
