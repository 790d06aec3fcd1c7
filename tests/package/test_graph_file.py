"""A run's networks in ONNX and of torch.export: they compute what the run's own do, anywhere."""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import pipeline
from pipeline.commands import export_model
from pipeline.commands._runs import open_run
from pipeline.compute.device import Device
from pipeline.config.fields import channels
from pipeline.config.load import load_config
from pipeline.config.networks import Network
from pipeline.errors import ConfigError, DataError, PipelineError
from pipeline.inference.mean_network import MeanNetwork
from pipeline.jobs.run import Run
from pipeline.networks.build import SegmentationNetwork, build_network
from pipeline.networks.input_sizes import InputSizes
from pipeline.package import graph_file
from pipeline.package.build import contents
from pipeline.package.contents import Package
from pipeline.package.graph import Graph, exporting, trace
from pipeline.package.graph_forms import FORMS, Form, largest_difference

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]


def call(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export_model", *map(str, arguments)])
        export_model.main()


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a finished run of two folds, exported for any size in both forms."""
    folder = tmp_path_factory.mktemp("exported") / "home"
    shutil.copytree(ROOT / "tests" / "stored_runs" / pipeline.__version__, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("tiny", "--as", "onnx", "--out", "ships.onnx")
        call("tiny", "--as", "torch-export", "--out", "ships.pt2")
    return folder


@pytest.fixture
def run(home, monkeypatch):
    monkeypatch.chdir(home)
    return open_run("tiny")


def noise(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", ["ships.onnx", "ships.pt2"])
def test_the_file_computes_the_mean_of_the_runs_networks(run, name):
    (function,) = [form.read(Path(name)) for form in FORMS.values() if name.endswith(form.ending)]
    predict = run.config.predict.model_copy(update={"tta": "none"})
    machine = run.config.machine.model_copy(update={"device": "cpu", "amp": False})
    config = run.config.model_copy(update={"predict": predict, "machine": machine})
    mean = MeanNetwork(config, Device.choose(machine), Package.of_run(run).states())
    for shape in ((1, 3, 96, 96), (3, 3, 5, 6), (2, 3, 33, 70), (1, 3, 101, 51)):
        images = noise(*shape)
        (maps,) = function(images)
        assert maps.dtype == torch.float32
        assert torch.allclose(maps, mean(images).maps_nchw, rtol=0, atol=1e-5)


def test_the_file_says_what_it_is_and_what_it_takes(run):
    extra = {"metadata.json": ""}
    program = torch.export.load("ships.pt2", extra_files=extra)
    session = onnxruntime.InferenceSession("ships.onnx")
    said = session.get_modelmeta().custom_metadata_map
    said = {name: json.loads(value) for name, value in said.items()}
    assert said.pop("opset") == onnx.load("ships.onnx").opset_import[0].version
    assert said == json.loads(extra["metadata.json"])
    weights = [content for name, content in contents(run) if name.endswith(".safetensors")]
    assert said.pop("weights_sha256") == [hashlib.sha256(one).hexdigest() for one in weights]
    assert said.pop("versions")["pipeline"] == pipeline.__version__
    assert said == {
        "run": "tiny",
        "classes": ["ship"],
        "channels": ["ship"],
        "size": None,
        "least_px": 5,
        "trained_size": [96, 96],
        "stride": 2,
    }
    (images,), (maps,) = session.get_inputs(), session.get_outputs()
    assert (images.type, images.shape) == ("tensor(uint8)", ["batch", 3, "height", "width"])
    assert (maps.name, maps.shape) == ("probabilities", ["batch", 1, "height", "width"])
    with pytest.raises(AssertionError, match=r"size\(\)\[3\] >= 5"):
        program.module()(noise(1, 3, 9, 4))


def test_the_examples_of_the_documents_need_no_pipeline(home, tmp_path, monkeypatch, capsys):
    for name in ("ships.onnx", "ships.pt2"):
        shutil.copy(home / name, tmp_path)
    cv2.imwrite(str(tmp_path / "harbour.png"), noise(31, 45, 3).numpy())
    page = (ROOT / "docs" / "export_networks.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipeline"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pipeline", None)
    exec("\n".join(examples), {})
    assert capsys.readouterr().out == "(31, 45)\n" * 2


class Own(nn.Module):
    """A network of one's own."""

    def __init__(self, channels):
        super().__init__()
        self.last = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x_nchw):
        return self.last(x_nchw)


class Undecided(Own):
    """One that no trace holds."""

    def forward(self, x_nchw):
        return self.last(x_nchw) if x_nchw.mean() > 0 else self.last(-x_nchw)


def original(kind, upsample, *, image_head):
    options = {"width": 2, "depth": 1, "upsample": upsample}
    section = Network(arch="unet_original", encoder=None, weights="none", options=options)
    return build_network(section, channels(kind, 2 - (kind == "softmax")), image_head)


@pytest.mark.parametrize(
    ("name", "kind", "size", "make"),
    [
        pytest.param(
            "onnx",
            "object_contact",
            None,
            lambda kind: original(kind, "max_unpool", image_head=True),
            id="onnx, any size, max_unpool, contact, image head",
        ),
        pytest.param(
            "torch-export",
            "softmax",
            (11, 23),
            lambda kind: original(kind, "bed_of_nails", image_head=False),
            id="torch-export, one size, bed of nails, softmax",
        ),
        pytest.param(
            "onnx",
            "object",
            (1, 3),
            lambda kind: SegmentationNetwork(Own(2), InputSizes(1), None, 2),
            id="onnx, one size, own",
        ),
    ],
)
def test_networks_of_every_kind_agree(tmp_path, name, kind, size, make):
    torch.manual_seed(0)
    graph, form = Graph([make(kind)], kind, size), FORMS[name]
    form.save(graph, trace(graph), tmp_path / f"x{form.ending}", {})
    sizes = [size] if size else [(9, 9), (16, 21), (31, 12)]
    batches = [noise(count, 3, *one) for one in sizes for count in (1, 3)]
    function = form.read(tmp_path / f"x{form.ending}")
    assert largest_difference(graph, function, batches) < 1e-6
    assert len(function(batches[0])) == 1 + (kind == "object_contact")


def test_a_network_that_cannot_be_traced_is_told():
    graph = Graph([SegmentationNetwork(Undecided(1), InputSizes(1), None, 1)], "object", (8, 8))
    told = r"--as onnx: .* of 8 x 8 px: .*data-dependent.* Change --size H,W"
    with pytest.raises(ConfigError, match=told), exporting(graph, "onnx"):
        trace(graph)


def without_export(patch, function):
    """Have `export_graph` trace nothing and read back a function of the graph and images."""
    saved = []

    def save(graph, _program, file, _metadata):
        saved.append(graph)
        file.write_bytes(b"saved")

    form = Form(lambda: None, ".pt2", save, lambda _file: lambda images: function(saved[0], images))
    patch.setattr(graph_file, "trace", lambda _graph: None)
    patch.setattr(graph_file, "FORMS", {"torch-export": form})


def shifted(graph, images):
    return [graph(images)[0] + 2e-4]


def not_a_number(graph, images):
    return [graph(images)[0] * torch.nan]


def failing(_graph, _images):
    raise RuntimeError("Gather: out of bounds")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (shifted, "within 0.0001 .* a difference of 2.0e-04. Nothing was written"),
        (not_a_number, "a difference of nan"),
        (failing, "of any size: RuntimeError: Gather: out of bounds. Give --size"),
    ],
    ids=["shifted", "not a number", "failing"],
)
def test_what_does_not_agree_is_not_kept(run, tmp_path, monkeypatch, function, told):
    without_export(monkeypatch, function)
    with pytest.raises(PipelineError, match=told):
        graph_file.export_graph(run, tmp_path / "x.pt2", "torch-export", None)
    assert list(tmp_path.iterdir()) == []


def test_without_its_data_a_run_is_compared_on_random_images(run, tmp_path, monkeypatch, caplog):
    sizes = set()

    def own(graph, images):
        sizes.add((len(images), *images.shape[2:]))
        return list(graph(images))

    without_export(monkeypatch, own)
    graph_file.export_graph(run, tmp_path / "x.pt2", "torch-export", None)
    assert not caplog.records
    assert sizes == {(n, *one) for n in (1, 2) for one in ((96, 96), (5, 5), (97, 50))}
    sizes.clear()
    data = run.config.data_folder
    data.rename("elsewhere")
    try:
        graph_file.export_graph(run, tmp_path / "y.pt2", "torch-export", (7, 200))
    finally:
        Path("elsewhere").rename(data)
    assert sizes == {(1, 7, 200), (2, 7, 200)}
    assert "random images" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--as onnx --out x.onnx --size 96", "--size: expected height and width, px, as in"),
        ("--as onnx --out x.onnx --size 96,0", "--size: expected height and width"),
        ("--as model --out x.zip --size 96,96", "--size: a model takes images of any size"),
        ("--as onnx --out x.zip", "--out: expected a name that ends in .onnx"),
        ("--as torch-export --out ships.pt2", "ships.pt2: exists"),
    ],
)
def test_wrong_commands_are_told(home, monkeypatch, caplog, arguments, told):
    monkeypatch.chdir(home)
    with pytest.raises(SystemExit, match="2"):
        call("tiny", *arguments.split())
    assert told in caplog.text
    assert not list(home.glob("x.*"))


def test_a_package_that_is_missing_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'onnxscript, .* not installed. .*"\.\[onnx\]"'):
        graph_file.export_graph(run, tmp_path / "x.onnx", "onnx", None)


def test_large_weights_lie_beside_the_graph(run, tmp_path, monkeypatch):
    from torch.onnx._internal.exporter import _onnx_program

    monkeypatch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 0)
    graph_file.export_graph(run, tmp_path / "x.onnx", "onnx", (8, 8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.onnx", "x.onnx.data"]
    (maps,) = FORMS["onnx"].read(tmp_path / "x.onnx")(noise(1, 3, 8, 8))
    assert maps.shape == (1, 1, 8, 8)
    (tmp_path / "x.onnx").unlink()
    with pytest.raises(DataError, match=r"x\.onnx\.data: exists"):
        graph_file.export_graph(run, tmp_path / "x.onnx", "onnx", (8, 8))


def test_a_run_of_other_runs_maps_has_no_networks_to_export(tmp_path, monkeypatch):
    ensemble = "predict.ensemble={runs: [a, b], mean: logit}"
    config = load_config(ROOT / "tests" / "tiny.yaml", ["name=both", ensemble])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"run both: .* the maps of a, b\. Give one of them"):
        graph_file.export_graph(Run(config, restart=False), tmp_path / "x.onnx", "onnx", None)
