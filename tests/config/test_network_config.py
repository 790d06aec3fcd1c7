"""A wrong name in the `network` section is found when the configuration is read."""

import inspect
import subprocess
import sys

import pytest
from pydantic import ValidationError

from pipeline.config.architectures import SMP
from pipeline.config.networks import Network
from pipeline.config.yaml_source import validate_source
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit

GOOD = {"arch": "unet", "encoder": "resnet18", "weights": "none", "options": {}}


def refused(tmp_path, **changes):
    lines = [f"{key}: {value}" for key, value in (GOOD | changes).items()]
    (tmp_path / "network.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        validate_source(Network, tmp_path / "network.yaml", [])
    return str(caught.value)


def test_a_good_section_passes():
    options = {"encoder_depth": 4, "decoder_channels": [64, 32, 16, 8]}
    assert Network(**(GOOD | {"options": options})).options == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "unett"}, r"yaml:1: arch: unknown architecture 'unett'. Did you mean 'unet'?"),
        (
            {"options": "{encoder_dept: 4}"},
            "yaml:4: options.encoder_dept: unet has no such option. Did you mean 'encoder_depth'?",
        ),
        (
            {"options": "{encoder_depth: 9}"},
            "options.encoder_depth: expected less than or equal to 5, got 9.",
        ),
        (
            {"options": "{decoder_channels: [8, a]}"},
            "options.decoder_channels: expected a valid integer, got [8, 'a'].",
        ),
        ({"arch": "fcn8s"}, "yaml:2: encoder: fcn8s cannot use 'resnet18'. Known here: vgg11,"),
        (
            {"arch": "fcn8s", "encoder": "vgg16", "options": "{upsample: max_unpool}"},
            "options.upsample: expected 'nearest', 'bilinear', 'bed_of_nails' or 'transposed', got",
        ),
        (
            {"arch": "unet_fpn", "options": "{upsample: max_unpool}"},
            "options.upsample: expected 'nearest', 'bilinear', 'bed_of_nails' or 'transposed', got",
        ),
        ({"arch": "unet_original"}, "encoder: expected null, since unet_original has no encoder"),
        ({"encoder": "null"}, "encoder: expected the name of an encoder for unet, got null."),
        (
            {"weights": "imagent"},
            "yaml:3: weights: no such file: 'imagent'. Did you mean 'imagenet'?",
        ),
        (
            {"arch": "unet_original", "encoder": "null", "weights": "imagenet"},
            "weights: there are no ImageNet weights for unet_original, which has no encoder.",
        ),
    ],
)
def test_a_wrong_section_says_what_to_do(tmp_path, changes, message):
    assert message in refused(tmp_path, **changes)


def test_every_field_must_be_given():
    for name in GOOD:
        with pytest.raises(ValidationError, match=f"{name}\n.*required"):
            Network(**{key: value for key, value in GOOD.items() if key != name})


def test_reading_the_demos_configuration_imports_neither_torch_nor_albumentations():
    code = """
import sys
from pathlib import Path
from pipeline.config.load import load_config
load_config(Path("configs/demo.yaml"), [])
print({"torch", "albumentations"} & sys.modules.keys())
"""
    imported = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert imported == "set()\n"


def test_the_table_of_options_is_that_of_smps_constructors():
    from pipeline.networks.smp_networks import MODEL_ARCHITECTURES_MAPPING

    ours = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation"}
    ours |= {"aux_params", "self", "kwargs"}
    assert sorted(SMP) == sorted(MODEL_ARCHITECTURES_MAPPING)
    for arch, model in MODEL_ARCHITECTURES_MAPPING.items():
        parameters = set(inspect.signature(model.__init__).parameters) - ours
        assert set(SMP[arch].options) == parameters | {"img_size"}, arch
