"""A network in a file of one's own: built like any other, known by its content, told with lines."""

import json
import re
from pathlib import Path

import pytest
import torch

from pipeline.config.load import as_stored, load_config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.jobs.run import Run
from pipeline.networks import table
from pipeline.networks.before_work import check_before_work
from pipeline.networks.build import build_network, build_trained
from pipeline.package.contents import Package

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.S)[1]
DEFECTS = {
    "import nothing_like_it\n": r"net\.py, line 1: Net cannot be had, .*ModuleNotFoundError",
    "\nclass Net(:": r"net\.py, line 2: Net cannot be had, .*SyntaxError",
    "import sys\nsys.exit()": r"net\.py, line 2: Net cannot be had, .*SystemExit",
    "from torch import nn\nclass Nets(nn.Module): pass": "got no such name. Did you mean 'Nets'",
    "class Net: pass": r"expected a class made of torch\.nn\.Module, got <class 'network_of",
    "{net}  pass": "unexpected keyword argument 'channels'",
    "{net}  def __init__(self, channels, depth): pass": "missing a required argument: 'depth'",
    "{net}  def __init__(self, channels):\n    1 / 0": "line 4: Net cannot be built: ZeroDivision",
    "{made}    return x[:, :1]": r"images \(1, 3, 64, 64\) into \(1, 1, 64, 64\), expected logits "
    r"\(1, 2, 64, 64\)",
    "{made}    return x[..., ::2, ::2]": r"into \(1, 3, 32, 32\)",
    "{made}    return {'out': x}": "into dict, expected logits",
    "{made}    return x[:, :2], x": "expected logits alone, got a tuple",
    "{made}    return x.nonsense": "line 7: Net fails: AttributeError",
}
NET = "from torch import nn\nclass Net(nn.Module):\n"
MADE = f"{NET}  def __init__(self, channels):\n    super().__init__()\n\n  def forward(self, x):\n"


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Return a function that configures a class of `net.py`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(EXAMPLE)

    def configure(*overrides, name="MyNet", path="net.py", options="{width: 4}"):
        section = f'arch: "file:{path}:{name}", encoder: null, weights: none, options: {options}'
        own = [
            f"network={{{section}}}",
            "crops.size_px=64",
            "targets.kind=object_contact",
            *overrides,
        ]
        return load_config(ROOT / "tests" / "tiny.yaml", own)

    return configure


def test_the_example_is_a_network_and_starts_from_its_own_state(configured):
    config = configured()
    assert len(EXAMPLE.strip().splitlines()) <= 15
    check_before_work(Run(config, restart=False))
    network = build_network(config.network, channels=2).eval()
    images = torch.randint(0, 256, (2, 3, 33, 47), dtype=torch.uint8)
    logits, image_logits = network(images)
    assert logits.shape == (2, 2, 33, 47)
    assert image_logits is None
    assert network.stride == 2
    again = build_trained(config.network, 2, network.state_dict()).eval()
    assert torch.equal(again(images).logits_nchw, logits)
    torch.save(network.body.state_dict(), "state.pt")
    started = configured("network.weights=state.pt")
    check_before_work(Run(started, restart=False))
    assert torch.equal(build_network(started.network, 2).eval()(images).logits_nchw, logits)


@pytest.mark.parametrize(("text", "message"), DEFECTS.items())
def test_what_is_wrong_in_the_file_is_told_before_any_work(configured, text, message):
    Path("net.py").write_text(text.replace("{net}", NET).replace("{made}", MADE))
    with pytest.raises(ConfigError, match=message):
        check_before_work(Run(configured(name="Net", options="{}"), restart=False))


def test_what_is_wrong_around_the_file_is_told(configured):
    with pytest.raises(ConfigError, match=r"none\.py: No such file or directory: expected the P"):
        check_before_work(Run(configured(path="none.py"), restart=False))
    with pytest.raises(ConfigError, match=r"MyNet\(channels, width=16\), got \{'widht': 4\}"):
        check_before_work(Run(configured(options="{widht: 4}"), restart=False))
    with pytest.raises(ConfigError, match=r"image_head\.weight: file:net\.py:MyNet: expected a c"):
        check_before_work(Run(configured("image_head.weight=0.1"), restart=False))
    with pytest.raises(ConfigError, match=r"unknown architecture 'file:net\.py'.*file:PATH:CLASS"):
        load_config(ROOT / "tests" / "tiny.yaml", ["network.arch=file:net.py"])


def test_a_run_stands_for_what_the_file_says_wherever_it_lies(configured):
    def job(**of_file):
        run = Run(configured(**of_file), restart=False)
        return run, run.job("train", sections=("network",), inputs=[], fold=0)

    run, first = job()
    run.begin(first)
    first.finish([], {})
    Path("elsewhere").mkdir()
    Path("net.py").rename("elsewhere/net.py")
    moved, same = job(path="elsewhere/net.py")
    assert not moved.has_work(same)
    Path("elsewhere/net.py").write_text(f"{EXAMPLE}\n")
    changed, other = job(path="elsewhere/net.py")
    told = r"finished for something else: (config\.)?network\.arch was .*SHA-256 .*, now .*--rest"
    with pytest.raises(ArtifactError, match=told):
        changed.has_work(other)
    with pytest.raises(ArtifactError, match=told):
        changed.result("train", fold=0)


def test_the_command_line_names_it_from_where_it_was_called(configured, monkeypatch):
    Path("inner").mkdir()
    Path("net.py").rename("inner/net.py")
    monkeypatch.setenv("PIPELINE_CALLER", str(Path("inner").resolve()))
    assert configured().network.arch == "file:inner/net.py:MyNet"


def test_a_package_is_used_with_the_file_it_carries(configured):
    config, folder = configured("folds.count=2"), Path("package")
    folder.mkdir()
    Path("net.py").rename(folder / "net.py")
    (folder / "config.yaml").write_text(as_stored(config))
    (folder / "rules.json").write_text("{}")
    for fold in range(2):
        (folder / f"fold{fold}.safetensors").write_bytes(b"")

    def manifest(*without):
        files = [path for path in folder.iterdir() if path.name not in {"manifest.json", *without}]
        known = {"files": {path.name: sha256_file(path) for path in files}}
        known |= {"run": "r", "height": 1, "width": 1, "made_of": {}}
        (folder / "manifest.json").write_text(json.dumps(known))

    manifest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.package.contents.read_classes", lambda *_: {})
        opened = Package.open(folder)
    assert opened.config.network.arch == "file:package/net.py:MyNet"
    build_network(opened.config.network, 1)
    (folder / "net.py").unlink()
    manifest()
    with pytest.raises(ArtifactError, match=r"expected net\.py in it"):
        Package.open(folder)


def test_the_table_of_networks_shows_it_first(configured, monkeypatch):
    monkeypatch.setattr(table, "architectures", dict)
    monkeypatch.setattr(table, "speeds", lambda *_: (1.0, 1.0))
    config = configured()
    device = table.Device.choose(config.machine)
    (row,) = table.rows(config, device)
    assert (row.arch, row.encoder, row.problem) == ("file:net.py:MyNet", "-", "")
    assert row.parameters == 3 * 4 * 16 + 4 + 8 + 4 * 9 + 1
    Path("net.py").write_text(EXAMPLE.replace("self.up(", "self.upp("))
    (row,) = table.rows(config, device)
    assert re.search(r"line 13: MyNet fails: AttributeError: .*'upp'", row.problem)
