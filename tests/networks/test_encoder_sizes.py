"""Encoders of many families: they take what the table says, and refusals say what to do."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.config.load import load_config
from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.masks.sizes import Sizes
from pipeline.networks import input_sizes, measured
from pipeline.networks.bodies import others
from pipeline.networks.build import build_network, build_random
from pipeline.networks.check import check_sizes
from pipeline.networks.encoders import check_encoder
from pipeline.networks.input_sizes import on_shapes, problem_at
from pipeline.training.fold import _check_images
from tests.bench.encoders import page, sizes_of

pytestmark = pytest.mark.unit

TABLE = {encoder.name: encoder for encoder in measured.read_encoders()}
TRIED = [
    *("resnet18", "timm-skresnet18", "mit_b0", "timm-efficientnet-b0", "efficientnet-b0"),
    *("xception", "vgg11", "mobilenet_v2", "tu-resnet10t", "tu-cspnext_tiny"),
    *("tu-resnest14d", "tu-dpn48b", "tu-mobilenetv4_conv_small_035", "tu-cpubone_nano"),
    *("tu-ese_vovnet19b_slim_dw", "tu-resnext26ts", "tu-cs3darknet_focus_s"),
    *("tu-gernet_s", "tu-resnetaa34d", "tu-dla46x_c", "tu-resnetblur18"),
    *("tu-mobilenetv1_100", "tu-lcnetv2_small", "tu-regnety_002", "tu-tinynet_e"),
    *("tu-hgnetv2_b0", "tu-legacy_seresnet18", "tu-convnext_zepto_rms"),
    *("tu-mobilenetv2_035", "tu-regnetx_002", "tu-resnetv2_18", "tu-lcnet_035"),
    *("tu-ghostnet_050", "tu-repvgg_a0", "tu-test_coatnet", "tu-test_vit"),
    *("tu-pit_ti_224", "tu-levit_128s", "tu-visformer_tiny", "tu-shvit_s1"),
]
"""The quickest to build of each of forty families; the last four no architecture takes."""


def section(encoder, arch="unet", **options):
    return Network(arch=arch, encoder=encoder, weights="none", options=options)


@pytest.mark.parametrize("name", TRIED)
def test_the_table_is_true(name):
    found = TABLE[name]
    if found.arch == "-":
        with pytest.raises(ConfigError, match=rf"{name}.*{others('unet')}"):
            check_sizes(section(name), 96, [])
        return
    built = on_shapes(lambda: build_random(section(name, found.arch), 1, image_head=False))
    assert sizes_of(built) == found.sizes
    assert problem_at(built, 96, 101) is None


def test_the_page_is_the_tables():
    assert Path("docs/encoders.md").read_text(encoding="utf-8") == page(TABLE.values())


IMAGE = torch.zeros(1, 3, 70, 33, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("encoder", "options", "stride", "largest"),
    [
        ("tu-test_resnet", {}, 32, None),
        ("tu-test_maxvit", {}, 160, None),
        ("tu-test_maxvit", {"img_size": 64}, 64, None),
        ("tu-test_coatnet", {}, 160, 160),
        ("tu-test_coatnet", {"img_size": 96}, 96, 96),
    ],
)
def test_an_encoder_made_for_a_size_gets_it_by_padding(encoder, options, stride, largest):
    network = build_network(section(encoder, "unet_fpn", **options), 1).eval()
    assert (network.stride, network.largest_px) == (stride, largest)
    with torch.inference_mode():
        assert network(IMAGE).logits_nchw.shape == (1, 1, 70, 33)
    if largest is not None:
        with pytest.raises(ConfigError, match=rf"at most {largest} x {largest} px.*got \(1, 161\)"):
            network(IMAGE[:, :, :1, :1].expand(1, 3, 1, 161))


def test_a_swin_takes_any_size():
    swin = section("tu-swin_tiny_patch4_window7_224", "unet_fpn")
    network = on_shapes(lambda: build_random(swin, 1, image_head=False))
    assert (network.stride, network.largest_px) == (32, None)
    assert problem_at(network, 101, 75) is None


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("tu-vit_small_patch8_224", 32),
        ("tu-vit_small_patch14_dinov2", 32),
        ("tu-test_vit", 32),
    ],
)
def test_dpt_takes_patches_of_any_size(name, stride):
    network = on_shapes(lambda: build_random(section(name, "dpt"), 1, image_head=True))
    assert network.stride == stride
    assert problem_at(network, 96, 101) is None


def test_what_dpt_shows_patches_of_14_px_stays_in_register():
    from pipeline.networks.smp_networks import _shrink

    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 32, 64)
    shrunk = _shrink(torch.nn.Identity(), (ramp,), scale=14 / 16)
    assert shrunk.shape == (1, 1, 28, 56)
    middles = (torch.arange(56) + 0.5) * 16 / 14 - 0.5
    assert torch.allclose(shrunk[0, 0, 0, 2:-2], middles[2:-2], atol=0.1)


@pytest.mark.parametrize(
    ("network", "sizes", "message"),
    [
        (section("tu-vit_tiny_patch16_224"), (64, []), "strides 16, .* Set network.arch=dpt, wh"),
        (section("tu-test_resnet", "dpt"), (64, []), "network.arch: .* Set network.arch=unet, wh"),
        (section("mit_b0", "linknet"), (64, []), "network.arch: .* Set network.arch=unet, which"),
        (section("tu-test_resnet", img_size=64), (64, []), "network.options: .*Correct or leave"),
        (section("resnet18", img_size=64), (64, []), "img_size: encoder resnet18 is made for no"),
        (
            section("tu-legacy_xception"),
            (96, []),
            "45 px high .* takes no size that was tried",
        ),
        (
            section("tu-test_coatnet"),
            (96, [(96, 96), (96, 768)]),
            "images of .*768.* px: it is made for 160 px. It takes images of at most 160 x 160 px,"
            " padded to that. Set an encoder that takes any .*; or network.options.img_size=768, w",
        ),
        (
            section("tu-test_coatnet", img_size=64),
            (96, []),
            "crops of 96 x 96 px: it is .* or network.options.img_size=96, with which this one tak",
        ),
    ],
    ids=lambda value: f"{value.arch}-{value.encoder}" if isinstance(value, Network) else "",
)
def test_a_refusal_names_the_encoder_and_what_would_do(monkeypatch, network, sizes, message):
    monkeypatch.setattr(input_sizes, "TRIED_PX", (96, 224))
    with pytest.raises(ConfigError, match=message) as caught:
        check_sizes(network, *sizes)
    assert network.encoder in str(caught.value)


def test_much_padding_is_told(caplog):
    caplog.set_level(logging.WARNING)
    check_sizes(section("tu-test_maxvit"), 160, [])
    assert caplog.text == ""
    check_sizes(section("tu-test_maxvit"), 96, [])
    assert "crops of 96 px become 160 px" in caplog.text


def test_names_that_smp_has_given_up_are_timms():
    assert section("timm-regnetx_002").encoder == "tu-regnetx_002"
    assert section("timm-mobilenetv3_large_075").encoder == "tu-tf_mobilenetv3_large_075"
    assert section("timm-efficientnet-b0").encoder == "timm-efficientnet-b0"


def test_a_tag_that_there_is_not_is_refused():
    check_encoder("tu-resnet18.a1_in1k")
    with pytest.raises(ConfigError, match=r"no weights 'a1_in2k' for resnet18\. Did you mean 'a1_"):
        check_encoder("tu-resnet18.a1_in2k")


def test_a_fold_is_refused_before_its_first_epoch():
    small = SimpleNamespace(sizes=Sizes((96, 96)), test_sizes=Sizes((96, 160)))
    large = SimpleNamespace(sizes=Sizes((96, 96)), test_sizes=Sizes(None, {"a": (96, 200)}))
    network = "network={arch: fpn, encoder: tu-test_coatnet, weights: none, options: {}}"
    config = load_config(Path("tests/tiny.yaml"), [network])
    _check_images(config, small)
    with pytest.raises(ConfigError, match="images of 96 x 200 px: it is made for 160 px"):
        _check_images(config, large)
