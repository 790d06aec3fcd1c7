"""configs/networks/: a file for each of twelve networks from papers, all of which can be built."""

from pathlib import Path

import pytest
import torch

from pipeline.config.architectures import architectures
from pipeline.config.load import load_config
from pipeline.networks.build import build_network

pytestmark = pytest.mark.unit

FILES = sorted(Path("configs/networks").glob("*.yaml"))
PUBLISHED = {
    *("fcn32s", "fcn16s", "fcn8s", "segnet", "unet_original", "unet", "ternausnet11"),
    *("ternausnet16", "fpn", "unet_fpn", "deeplabv3", "deeplabv3plus"),
}


def test_every_one_of_them_has_its_file():
    assert {path.stem for path in FILES} == PUBLISHED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_its_run_and_builds_its_network(path):
    config = load_config(path, ["network.weights=none"])
    assert config.name == config.network.arch == path.stem
    with torch.device("meta"):  # shapes without numbers: some of these are large
        network = build_network(config.network, channels=1).eval()
        logits = network(torch.zeros(1, 3, 33, 20, dtype=torch.uint8)).logits_nchw
    assert logits.shape == (1, 1, 33, 20)


@pytest.mark.parametrize(
    "arch", [a for a, known in architectures().items() if known.encoders is None]
)
def test_every_other_network_is_one_word_on_the_command_line(arch):
    network = load_config(Path("configs/demo.yaml"), [f"network.arch={arch}"]).network
    assert network.options == {} or arch == "unet"
