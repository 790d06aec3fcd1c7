"""The same weights as other programs write them: loaded right, or refused with the reason."""

import argparse
import re

import pytest
import torch
from safetensors.torch import save_file

from pipeline.config.networks import Network
from pipeline.errors import ConfigError, DataError
from pipeline.networks import weight_files
from pipeline.networks.build import build_network
from pipeline.networks.weight_origin import check_origin
from pipeline.networks.weights import check_imagenet

pytestmark = pytest.mark.unit

TINY = "tu-test_resnet"
SIZE = {"img_size": 96}
IMAGENET = {"weights": "imagenet", "options": SIZE}
create_timm = weight_files.timm.create_model  # timm may be imported only after pipeline.networks


def source(name, seed=1):
    torch.manual_seed(seed)
    return create_timm(name).eval()


def encoder_from(path, name=TINY, arch="unet_fpn"):
    section = Network(arch=arch, encoder=name, weights=str(path), options={})
    return build_network(section, 1).body.encoder.eval()


def same_features(encoder, whole):
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = encoder(image)
        theirs = whole.forward_intermediates(image, intermediates_only=True)
    shared = [
        any(one.shape == other.shape and torch.allclose(one, other, atol=1e-5) for other in theirs)
        for one in ours[1:]
    ]
    return all(shared) and shared != []


def behind(prefix, state, **beside):
    return {f"{prefix}{name}": value for name, value in state.items()} | beside


LAYOUTS = {
    "timm": lambda state, other: state,
    "data_parallel": lambda state, other: behind("module.", state),
    "averaged": lambda state, other: behind("module.", state, n_averaged=torch.tensor(3)),
    "compiled": lambda state, other: behind("_orig_mod.", state),
    "compiled_data_parallel": lambda state, other: behind("module._orig_mod.", state),
    "detector": lambda state, other: behind("backbone.", state, **{"neck.w": torch.ones(1)}),
    "lightning": lambda state, other: {
        "epoch": 3,
        "state_dict": behind("model.", state, **{"criterion.weight": torch.ones(1)}),
    },
    "ema_of_timm": lambda state, other: {"state_dict": other, "state_dict_ema": state},
    "ema_of_torchvision": lambda state, other: {
        "model": other,
        "model_ema": behind("module.", state, n_averaged=torch.tensor(3)),
    },
    "ema_of_lightning": lambda state, other: {
        "state_dict": behind("model.", other) | behind("ema_model.", state)
    },
    "ema_in_a_module": lambda state, other: {
        "model": other,
        "ema": {"module": state, "decay": 0.9},
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_features_of_its_source(tmp_path, layout):
    whole = source("test_resnet")
    other = source("test_resnet", seed=2).state_dict()
    torch.save(LAYOUTS[layout](whole.state_dict(), other), tmp_path / "a.pth")
    assert same_features(encoder_from(tmp_path / "a.pth"), whole)


def test_what_is_beside_the_network_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    state = LAYOUTS["lightning"](source("test_resnet").state_dict(), {})
    torch.save(state, tmp_path / "a.ckpt")
    encoder_from(tmp_path / "a.ckpt")
    assert re.search(r"a\.ckpt, behind 'model\.' .*left over: .*criterion \(1\)", caplog.text)


def test_a_file_is_read_by_what_is_in_it(tmp_path):
    whole = source("test_resnet")
    save_file(whole.state_dict(), tmp_path / "a.pth")
    torch.save(whole.state_dict(), tmp_path / "a.safetensors")
    assert same_features(encoder_from(tmp_path / "a.pth"), whole)
    assert same_features(encoder_from(tmp_path / "a.safetensors"), whole)


def test_a_whole_network_of_smps_is_loaded_behind_a_prefix(tmp_path):
    section = Network(arch="fpn", encoder=TINY, weights="none", options={})
    first = build_network(section, 1)
    torch.save(behind("module.", first.body.state_dict()), tmp_path / "a.pth")
    second = build_network(section.model_copy(update={"weights": str(tmp_path / "a.pth")}), 1)
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert first.eval()(image).logits_nchw.equal(second.eval()(image).logits_nchw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: source("test_resnet"), r"it holds timm\.\S+, not tensors alone\. Save the"),
        (lambda: {1: torch.ones(1)}, "expected only tensors, got also 1"),
        (
            lambda: {
                name: value.to(torch.int8)
                for name, value in source("test_resnet").state_dict().items()
            },
            "is torch.int8, or not finite",
        ),
        (
            lambda: {
                name: value * float("nan")
                for name, value in source("test_resnet").state_dict().items()
            },
            "is torch.float32, or not finite",
        ),
        (lambda: {"args": argparse.Namespace(lr=1)}, "it holds argparse.Namespace, not tensors"),
    ],
    ids=["whole model", "numbers for names", "int8", "nan", "arguments"],
)
def test_what_is_not_tensors_of_numbers_alone_is_refused(tmp_path, content, message):
    torch.save(content(), tmp_path / "a.pth")
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        encoder_from(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)


NAMES = [  # of timm's EfficientNet-Lite, and of packages that call its layers otherwise
    *((r"^conv_stem", "_conv_stem"), (r"^bn1", "_bn0"), (r"^conv_head", "_conv_head")),
    *((r"^bn2", "_bn1"), (r"^classifier", "_fc"), (r"^blocks\.0\.0\.conv_pw", "d._project_conv")),
    *((r"\.conv_pwl\.", "._project_conv."), (r"\.conv_pw\.", "._expand_conv.")),
    *((r"\.conv_dw\.", "._depthwise_conv."), (r"^blocks\.(\d+)\.(\d+)\.bn", r"_blocks.\1_\2._bn")),
]


def renamed(state):
    for pattern, name in NAMES:
        state = {re.sub(pattern, name, key): value for key, value in state.items()}
    return state


def test_efficientnet_lite_of_another_package_is_matched_by_order(tmp_path, caplog):
    caplog.set_level("INFO")
    whole = source("tf_efficientnet_lite0")
    state = renamed(whole.state_dict())
    torch.save(state, tmp_path / "lite0.pth")
    assert same_features(encoder_from(tmp_path / "lite0.pth", "tu-tf_efficientnet_lite0"), whole)
    assert "into the encoder, by order and shape" in caplog.text
    assert (
        "does not say whether it holds tf_efficientnet_lite0 or efficientnet_lite0" in caplog.text
    )
    names = list(state)
    swapped = {name: state[name] for name in [*names[5:], *names[:5]]}
    torch.save(swapped, tmp_path / "swapped.pth")
    save_file(state, tmp_path / "lite0.safetensors")  # which keeps no order
    for file in ("swapped.pth", "lite0.safetensors"):
        with pytest.raises(ConfigError, match=r"belongs nowhere|is missing"):
            encoder_from(tmp_path / file, "tu-tf_efficientnet_lite0")


def test_weights_for_another_size_are_interpolated_as_timm_does(tmp_path):
    from timm.models.maxxvit import checkpoint_filter_fn

    torch.save(source("test_coatnet").state_dict(), tmp_path / "a.pth")
    section = Network(
        arch="fpn", encoder="tu-test_coatnet", weights=str(tmp_path / "a.pth"), options=SIZE
    )
    whole = create_timm("test_coatnet", img_size=96)
    given = torch.load(tmp_path / "a.pth", weights_only=True)
    whole.load_state_dict(checkpoint_filter_fn(given, whole))
    encoder = build_network(section, 1).body.encoder.eval()
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        theirs = whole.eval().forward_intermediates(image, intermediates_only=True)
        assert torch.allclose(encoder(image)[-1], theirs[-1], atol=1e-5)


def test_imagenet_weights_that_cannot_be_had_for_a_size_are_refused():
    check_imagenet(Network(arch="fpn", encoder="tu-swin_tiny_patch4_window7_224", **IMAGENET))
    with pytest.raises(ConfigError, match=r"tu-efficientf\w+ .* cannot be interpolated .*=96"):
        check_imagenet(Network(arch="fpn", encoder="tu-efficientformerv2_s0", **IMAGENET))


@pytest.mark.parametrize(
    ("encoder", "file", "message"),
    [
        (
            "tu-efficientnet_b0",
            "tf_efficientnet_b0_aa-827b6e33.pth",
            r"got those of tf_efficientnet_b0.*Set network\.encoder=tu-tf_efficientnet_b0",
        ),
        (
            "tu-tf_efficientnet_b0",
            "models--timm--efficientnet_b0.ra_in1k/model.safetensors",
            "expected weights of tf_efficientnet_b0, got those of efficientnet_b0",
        ),
        (
            "tu-tf_efficientnet_b0",
            "tf_efficientnet_b0.ap_in1k.pth",
            r"mean \(0\.5, 0\.5, 0\.5\).*Set network\.encoder=tu-tf_efficientnet_b0\.ap_in1k",
        ),
    ],
)
def test_weights_of_another_padding_or_other_colours_are_refused(tmp_path, encoder, file, message):
    with pytest.raises(ConfigError, match=message):
        check_origin(encoder, tmp_path / file)


def test_what_a_name_does_not_tell_is_said(tmp_path, caplog):
    check_origin("tu-tf_efficientnet_b0.ap_in1k", tmp_path / "tf_efficientnet_b0.ap_in1k.pth")
    check_origin("tu-resnet18", tmp_path / "mine.pth")
    assert caplog.text == ""
    check_origin("tu-tf_efficientnet_b0", tmp_path / "mine.pth")
    assert "does not say whether it holds tf_efficientnet_b0 or efficientnet_b0" in caplog.text
    assert "expect different colours" in caplog.text
