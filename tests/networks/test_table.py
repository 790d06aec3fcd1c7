"""The table: every network has its line, and its counts are right."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from pipeline.commands.list_networks import main
from pipeline.config.architectures import SMP, architectures
from pipeline.config.load import load_config
from pipeline.config.networks import Network
from pipeline.networks import table
from pipeline.networks.build import build_network
from pipeline.networks.table import count, network_of

CONFIG = Path("configs/demo.yaml")


@pytest.mark.unit
def test_every_network_has_its_paper():
    author_and_year = r"[A-Z]\w+ 20\d\d"
    for architecture in architectures().values():
        assert re.fullmatch(rf"{author_and_year}([,+ ]+{author_and_year})*", architecture.paper)


@pytest.mark.unit
def test_counts_are_those_of_a_network_counted_by_hand():
    options = {"width": 4, "depth": 1}
    section = Network(arch="unet_original", encoder=None, weights="none", options=options)
    kernels_at = {  # pixels -> weights of the kernels that run there
        16 * 16: 3 * 4 * 9 + 4 * 4 * 9 + 8 * 4 * 9 + 4 * 4 * 9 + 4,
        8 * 8: 4 * 8 * 9 + 8 * 8 * 9 + 8 * 4 * 4,
    }
    parameters, macs = count(section, 16)
    biases = 4 + 4 + 8 + 8 + 4 + 4 + 4 + 1
    assert parameters == sum(kernels_at.values()) + biases
    assert macs == sum(pixels * weights for pixels, weights in kernels_at.items())


@pytest.mark.unit
def test_parameters_that_no_gradient_reaches_are_not_counted():
    section = Network(arch="pspnet", encoder="resnet18", weights="none", options={})
    with torch.device("meta"):
        named = dict(build_network(section, 1).named_parameters())
    behind = re.compile(r"body\.encoder\.layer[34]\.")  # PSPNet's features, of stride 8
    used = sum(p.numel() for name, p in named.items() if not behind.match(name))
    assert count(section, 64)[0] == used < 1e6


@pytest.mark.unit
@pytest.mark.parametrize("arch", architectures())
def test_every_network_is_shown_with_an_encoder_it_takes(arch):
    config = load_config(CONFIG, [])
    section = network_of(config, arch)
    assert Network(**section.model_dump()) == section
    assert section.arch == arch
    bound = load_config(
        CONFIG, ["network.arch=segnet", "network.encoder=vgg11", "network.options={}"]
    )
    assert network_of(bound, "unet").encoder == "resnet34"
    assert network_of(bound, "segnet").encoder == "vgg11"


@pytest.mark.unit
def test_the_command_prints_a_line_for_every_network(monkeypatch, capsys):
    shown = {arch: SMP[arch] for arch in ("unet", "linknet")}
    monkeypatch.setattr(table, "architectures", lambda: shown)
    impossible = Network(arch="linknet", encoder="mit_b0", weights="none", options={})
    own = table.network_of
    monkeypatch.setattr(
        table, "network_of", lambda c, a: impossible if a == "linknet" else own(c, a)
    )
    monkeypatch.setattr(
        sys, "argv", ["networks", "crops.size_px=32", "machine.device=cpu", "machine.threads=1"]
    )
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "32 x 32 px, cpu, 2 images a batch"
    assert [line.split()[0] for line in lines[2:]] == ["unet", "linknet", "network.arch:"]
    assert "linknet cannot be built with encoder 'mit_b0'" in lines[4]
    assert all(float(number) > 0 for number in lines[2].split()[-4:])


@pytest.mark.unit
def test_the_command_names_a_wrong_key(monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["list_networks", "crops.size_p=32"])
    monkeypatch.delitem(sys.modules, "pipeline.commands.list_networks")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("pipeline.commands.list_networks", run_name="__main__")
    assert re.search(r"unknown key.*size_px", caplog.text)
