"""Every network of the configuration: sizes, gradients, parameters, learning, compilation."""

import re
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.config.architectures import architectures
from pipeline.config.load import load_config
from pipeline.config.networks import Network
from pipeline.data.demo import render_demo
from pipeline.data.tiles import CropDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.errors import ArtifactError, ConfigError
from pipeline.masks.instances import read_instances
from pipeline.metrics.coefficients import PixelCounts
from pipeline.networks.build import build_network, build_trained
from pipeline.training.objective import WeightedSum

TINY = "tu-test_resnet"
NARROW = {
    "fcn32s": ("vgg11_bn", {"fc_channels": 32}),
    "fcn16s": ("vgg11_bn", {"fc_channels": 32}),
    "fcn8s": ("vgg11_bn", {"fc_channels": 32}),
    "segnet": ("vgg11_bn", {}),
    "unet_original": (None, {"width": 8, "depth": 3}),
    "ternausnet11": ("vgg11_bn", {"width": 8}),
    "ternausnet16": ("vgg16_bn", {"width": 8}),
    "unet_fpn": (TINY, {"decoder_channels": [32, 16, 16, 8], "encoder_depth": 4}),
    "unet": (TINY, {"decoder_channels": [32, 16, 16, 8, 8]}),
    "unetplusplus": (TINY, {"decoder_channels": [16, 16, 8], "encoder_depth": 3}),
    "manet": (
        TINY,
        {"decoder_channels": [16, 16, 8], "decoder_pab_channels": 16, "encoder_depth": 3},
    ),
    "linknet": (TINY, {"encoder_depth": 3}),
    "fpn": (TINY, {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}),
    "pspnet": (TINY, {"psp_out_channels": 32}),
    "deeplabv3": (TINY, {"decoder_channels": 16}),
    "deeplabv3plus": (TINY, {"decoder_channels": 16}),
    "pan": (TINY, {"decoder_channels": 16}),
    "upernet": (TINY, {"decoder_channels": 16}),
    "segformer": (TINY, {"decoder_segmentation_channels": 16}),
    "dpt": (
        "tu-test_vit",
        {
            "encoder_depth": 2,
            "decoder_intermediate_channels": [16, 16],
            "decoder_fusion_channels": 32,
        },
    ),
}
"""Encoder and options that make each network small."""


def section(arch, **options):
    encoder, own = NARROW[arch]
    return Network(arch=arch, encoder=encoder, weights="none", options=own | options)


@cache
def small(arch):
    """Build a network once for all tests that do not change it: two channels and an image head."""
    return fresh(arch, channels=2, image_head=True).eval()


def fresh(arch, channels=1, image_head=False, **options):
    torch.manual_seed(0)
    return build_network(section(arch, **options), channels, image_head)


EVERY = [
    pytest.param(
        arch, marks=pytest.mark.contract if "vgg" in str(NARROW[arch]) else pytest.mark.unit
    )
    for arch in architectures()
]
"""Every network; those on a VGG take seconds."""
NO_GRADIENT = {
    # smp keeps a vision transformer's last layers, which no features pass.
    "dpt": r"encoder\.model\.(head|norm)\.",
    # Two hidden units, narrow as it is here, may both lie where a ReLU is flat.
    "manet": r"\.SE_[lh]l\.(1\.weight|1\.bias|3\.weight)$",
    # BatchNorm takes off again what a bias adds.
    "pan": r"\.fpa\..*\.conv\.bias$",
}
"""The parameters that may have none."""
WAYS_UP = ["fcn8s", "segnet", "ternausnet11", "unet_original", "unet_fpn"]
"""One network of each kind that takes `upsample`."""


def images(height, width, count=2):
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


@pytest.mark.parametrize("arch", EVERY)
def test_logits_have_the_size_of_any_image(arch):
    network = small(arch)
    for height, width in ((33, 70), (1, 5)):
        with torch.inference_mode():
            logits, image_logits = network(images(height, width))
        assert logits.shape == (2, 2, height, width)
        assert image_logits.shape == (2,)
        assert logits.isfinite().all()
        assert image_logits.isfinite().all()


@pytest.mark.unit
@pytest.mark.parametrize("arch", ["unet", "unet_original"])
def test_without_an_image_head_there_are_no_image_logits(arch):
    assert fresh(arch).eval()(images(32, 32)).image_logits is None


@pytest.mark.parametrize("arch", EVERY)
def test_an_image_as_large_as_the_stride_needs_no_padding(arch):
    network = small(arch)
    size = (network.stride, 2 * network.stride)
    with torch.inference_mode():
        logits, _ = network.body(torch.zeros(1, 3, *size))
    assert logits.shape == (1, 2, *size)


@pytest.mark.parametrize("arch", EVERY)
def test_the_gradient_reaches_every_parameter(arch):
    network = fresh(arch, channels=2, image_head=True).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)  # some close their residual branch at first
    side_px = max(network.stride, 64)
    logits, image_logits = network(images(side_px, side_px))
    (functional.softplus(logits).mean() + functional.softplus(image_logits).mean()).backward()
    without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    allowed = NO_GRADIENT.get(arch)
    assert all(allowed is not None and re.search(allowed, name) for name in without), without
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("arch", EVERY)
def test_weights_survive_a_state_dict(arch):
    first = small(arch)
    torch.manual_seed(1)
    second = build_trained(section(arch), 2, first.state_dict(), image_head=True).eval()
    with torch.inference_mode():
        ours, theirs = first(images(40, 40)), second(images(40, 40))
    assert ours.logits_nchw.equal(theirs.logits_nchw)
    assert ours.image_logits.equal(theirs.image_logits)


@pytest.mark.unit
def test_weights_of_another_network_are_refused():
    with pytest.raises(
        ArtifactError, match="does not fit network unet with encoder tu-test_resnet"
    ):
        build_trained(section("unet"), 2, small("linknet").state_dict())


@pytest.mark.unit
def test_bytes_and_floats_give_the_same_logits_and_the_frame_has_no_weights():
    network = small("unet")
    with torch.inference_mode():
        assert network(images(9, 9))[0].equal(network(images(9, 9).float())[0])
    assert all(name.startswith("body.") for name in network.state_dict())


@pytest.mark.parametrize(
    ("arch", "kind"),
    [
        pytest.param(*a.values, kind, marks=a.marks)
        for a in EVERY
        if a.values[0] in WAYS_UP
        for kind in get_args(architectures()[a.values[0]].options["upsample"])
    ],
)
def test_every_way_up_works_in_every_network_that_takes_it(arch, kind):
    network = fresh(arch, upsample=kind).eval()
    with torch.inference_mode():
        assert network(images(33, 31, count=1)).logits_nchw.shape == (1, 1, 33, 31)


@pytest.mark.contract
@pytest.mark.parametrize("arch", ["unet", "segnet", "fcn8s", "unet_fpn", "dpt"])
def test_half_precision(arch):
    network = fresh(arch, channels=2, image_head=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits, image_logits = network(images(32, 32))
    (logits.float().mean() + image_logits.float().mean()).backward()
    assert logits.isfinite().all()


def parameters(arch, encoder, channels, **options):
    """Count without memory: the meta device has shapes and no numbers."""
    with torch.device("meta"):
        network = build_network(
            Network(arch=arch, encoder=encoder, weights="none", options=options), channels
        )
    return sum(p.numel() for p in network.parameters())


VGG11, VGG16, VGG16_BN = 9_220_480, 14_714_688, 14_723_136
"""Convolutions (and normalisation) of torchvision's VGGs."""


@pytest.mark.unit
def test_fcn_has_the_papers_134_million_parameters():
    fc = 512 * 4096 * 49 + 4096 + 4096 * 4096 + 4096
    scores = {32: 4096 + 1, 16: 512 + 1, 8: 256 + 1}
    for arch, strides in (("fcn32s", (32,)), ("fcn16s", (32, 16)), ("fcn8s", (32, 16, 8))):
        total = parameters(arch, "vgg16", 21)
        ups = {32: (64,), 16: (4, 32), 8: (4, 4, 16)}[strides[-1]]
        ours = sum(21 * scores[s] for s in strides) + sum(21 * 21 * k * k + 21 for k in ups)
        assert total == VGG16 + fc + ours
        # Paper, table 1: 134M. FCN-32s has 1.8M in its 64x64 kernel, which the paper keeps fixed.
        assert round((total - 21 * 21 * ups[-1] ** 2) / 1e6) == 134


@pytest.mark.unit
def test_segnet_has_the_papers_29_million_parameters():
    # Paper, table 4: 29.5M (encoder 14.7M, mirrored), for 11 classes.
    total = parameters("segnet", "vgg16_bn", 11)
    head, first = 64 * 11 * 9 + 11, 3 * 64 * 9 + 64 + 2 * 64
    # The decoder mirrors the encoder: each convolution backwards, the first one gives the head.
    mirrored = sum(a * b * 9 + 3 * b for a, b in _mirrored_vgg16())
    assert total == VGG16_BN + mirrored + head
    assert (
        abs(mirrored - (VGG16_BN - first)) < 2_000
    )  # biases and scales follow outputs, not inputs
    assert round(total / 1e6, 1) == 29.4


def _mirrored_vgg16():
    forwards = [(64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)]
    forwards += [(512, 512)] * 5
    return [(b, a) for a, b in reversed(forwards)]


@pytest.mark.unit
def test_the_original_unet_has_31_million_parameters():
    # The paper gives no number; its figure 1 gives the widths. Here 3 input channels, it has 1.
    widths = [64, 128, 256, 512, 1024]
    pairs = sum(a * b * 9 + b * b * 9 + 2 * b for a, b in zip([3, *widths], widths, strict=False))
    back = sum(2 * b * b * 4 + b + 2 * b * b * 9 + b * b * 9 + 2 * b for b in widths[:-1])
    assert parameters("unet_original", None, 2) == pairs + back + 2 * 64 + 2 == 31_031_810


@pytest.mark.unit
def test_ternausnet_has_its_decoders_parameters():
    # The paper gives no number; the widths of its figure do: 512-512-256, 768-512-256, ...
    down = {"ternausnet11": VGG11, "ternausnet16": VGG16}
    decoders = {
        "ternausnet11": (
            [(512, 512, 256), (768, 512, 256), (768, 512, 128), (384, 256, 64), (192, 128, 32)],
            3,
        ),
        "ternausnet16": (
            [(512, 512, 256), (768, 512, 256), (768, 512, 256), (512, 256, 64), (192, 128, 32)],
            4,
        ),
    }
    for arch, (blocks, kernel_px) in decoders.items():
        ours = sum(a * m * 9 + m + m * o * kernel_px**2 + o for a, m, o in blocks)
        last = 96 * 32 * 9 + 32 + 32 + 1
        assert parameters(arch, arch.replace("ternausnet", "vgg"), 1) == down[arch] + ours + last


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "resnet19"}, r"unknown encoder 'resnet19'\. Did you mean 'resnet1"),
        ({"encoder": "tu-resnet19"}, r"timm has no network 'resnet19'\. Did you mean 'resnet1"),
        (
            {"options": {"encoder_depth": 4}},
            r"unet cannot be built with encoder 'tu-test_resnet' .*decoder_channels",
        ),
        (
            {"arch": "unet_fpn", "options": {"decoder_channels": [8, 8]}},
            "unet_fpn cannot be built .*: decoder_channels has 2 widths, expected 5",
        ),
        ({"arch": "linknet", "encoder": "mit_b0"}, "linknet cannot be built with encoder 'mit_b0'"),
    ],
)
def test_what_cannot_be_built_says_why(changes, message):
    good = {"arch": "unet", "encoder": "tu-test_resnet", "weights": "none", "options": {}}
    with pytest.raises(ConfigError, match=message):
        build_network(Network(**(good | changes)), 1)


@pytest.mark.unit
def test_options_that_change_the_size_are_refused():
    network = fresh("fpn", upsampling=2).eval()
    with pytest.raises(
        ConfigError, match=r"64, 64\) into \(2, 1, 32, 32\), expected logits \(2, 1, 64, 64\)"
    ):
        network(images(64, 64))


@pytest.fixture(scope="module")
def demo_crops(tmp_path_factory):
    """Three crops of the rendered demo, those of eight with most of a ship in them, and the truth.

    The coarser networks cannot draw a ship of a few pixels, however long they look at it.
    """
    root = tmp_path_factory.mktemp("demo") / "demo"
    sizes = {"tile_px": 96, "train_tiles": 8, "test_tiles": 1, "max_ship_px": 90}
    render_demo(root, seed=0, empty_share=0.0, **sizes)
    ships = read_instances(root / "train_ship_segmentations_v2.csv").groupby("ImageId")
    shares = ["crops.object_share=1.0", "crops.empty_share=0.0"]
    config = load_config(Path("configs/demo.yaml"), ["crops.size_px=64", *shares])
    crops = CropDataset(
        [root / "train_v2" / name for name in ships.groups],
        TrueObjects([list(rows.EncodedPixels) for _, rows in ships], (96, 96)),
        targets=config.targets,
        crops=config.crops,
        augment=config.augment,
        seed=0,
        stream=("train", 0),
    )
    items = sorted((crops[0, i] for i in range(8)), key=lambda item: -int(item["target"].sum()))
    return [torch.stack([item[name] for item in items[:3]]) for name in ("image_chw", "target")]


@pytest.mark.contract
@pytest.mark.parametrize("arch", architectures())
def test_each_network_learns_a_handful_of_demo_crops_by_heart(arch, demo_crops):
    seas, truth = demo_crops
    dropout = {"fcn": "dropout", "dee": "decoder_aspp_dropout"}.get(arch[:3])
    network = fresh(arch, **({dropout: 0.0} if dropout else {})).train()
    on_vgg = "vgg" in str(NARROW[arch])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3 if on_vgg else 4e-3)
    loss = WeightedSum(load_config(Path("configs/demo.yaml"), []).train.loss)
    # Scores a step of 32 or 16 pixels apart cannot draw the edges of ships.
    enough = {"fcn32s": 0.5, "fcn16s": 0.7}.get(arch, 0.85)
    for _step in range(150):
        logits = network(seas).logits_nchw
        value, _ = loss(logits, truth)
        counts = PixelCounts(logits.device)
        counts.update(logits > 0, truth > 0)
        dice = counts.coefficients()["dice"]
        if dice > enough:
            break
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    assert dice > enough, f"{arch}: Dice {dice:.2f}"


@pytest.mark.contract
@pytest.mark.parametrize("arch", architectures())
def test_each_network_compiles_as_one_graph(arch):
    network = small(arch)
    torch.compiler.reset()  # the limit of recompilations is one for all networks
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        ours, theirs = compiled(images(50, 41)), network(images(50, 41))
    assert torch.allclose(ours.logits_nchw, theirs.logits_nchw, atol=1e-4)
    assert torch.allclose(ours.image_logits, theirs.image_logits, atol=1e-4)
