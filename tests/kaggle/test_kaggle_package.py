"""A finished run, its package at Kaggle, and its notebook there, without a network."""

import csv
import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from kaggle_server import SLUG, TOKEN, USER, KaggleServer

from pipeline.data.demo import render_demo

pytestmark = pytest.mark.smoke

DATASET, NOTEBOOK = f"{USER}/offline-package", f"{USER}/offline-submit"
SHIPPED = ("segmentation-models-pytorch", "timm")
# Not on the imitated machine: this project, what is shipped, and what prediction must not need.
ABSENT = (
    *("pipeline", "ship_segmentation", "__editable__", "segmentation_models_pytorch", "timm"),
    *("albumentations", "albucore", "kaggle", "sklearn", "scikit_learn", "skimage", "scikit_image"),
)
NO_NETWORK = """
import socket

def refuse(*_):
    raise OSError("the network is cut off")

socket.socket.connect = socket.socket.connect_ex = refuse
"""


@pytest.fixture(scope="module")
def server():
    with KaggleServer() as running:
        yield running


@pytest.fixture(scope="module")
def competition(tmp_path_factory):
    """The competition's files, one test image of which is truncated."""
    root = tmp_path_factory.mktemp("competition") / "data"
    render_demo(
        root, seed=0, tile_px=96, train_tiles=24, test_tiles=8, empty_share=0.5, max_ship_px=60
    )
    (root / "demo.json").unlink()  # which would not be sent
    image = truncated(root)
    image.write_bytes(image.read_bytes()[:-500])
    return root


def truncated(root):
    return sorted((root / "test_v2").iterdir())[3]


def repack(name, folder):
    """Make a wheel of an installed distribution, which pip then finds without a network."""
    found = distribution(name)
    stem = f"{name.replace('-', '_')}-{found.version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for file in found.files:
            if ".." not in file.parts and file.suffix != ".pyc" and file.name != "INSTALLER":
                archive.write(found.locate_file(file), file)


@pytest.fixture(scope="module")
def finished(shared_checkout, competition, server, tmp_path_factory):
    """A finished run, and the arguments that name it."""
    wheels, home = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("home")
    for name in SHIPPED:
        repack(name, wheels)
    environment = shared_checkout.environment
    for name in list(environment):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            del environment[name]
    environment |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "HOME": str(home),
        "KAGGLE_API_TOKEN": TOKEN,
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "HTTP_PROXY": server.url,
        "http_proxy": server.url,
    }
    run = ("tests/tiny.yaml", "name=offline", f"data.root={competition}", "data.max_bad_share=0.2")
    # So short a training is worth no ship; these rules leave no other choice.
    run += (
        "calibrate.thresholds=[0.3]",
        "calibrate.min_areas_px=[0]",
        "calibrate.candidate_selection=null",
    )
    run += ("calibrate.image_filter_probabilities=[0.0]", "calibrate.image_filter_areas_px=[0]")
    run += ("calibrate.empty_answer=false",)
    run += ("calibrate.watershed=null",)  # which alone would need scikit-image
    shared_checkout.run_in_one_process(*run)
    return shared_checkout, run


def package(finished, *arguments, code=0):
    checkout, (config, *overrides) = finished
    command = ["pipeline.commands.build_package", "--config", config, *overrides, *arguments]
    return checkout.run_module(*command, code=code)


@pytest.fixture(scope="module")
def pushed(finished, server):
    """The files and the notebook that Kaggle has after a push."""
    output = package(finished, "--push", USER)
    assert f"https://www.kaggle.com/code/{NOTEBOOK} runs at Kaggle" in output
    (files,), (notebook,) = server.datasets[DATASET], server.notebooks[NOTEBOOK]
    return files, notebook


class Machine:
    """Kaggle's machine: its own interpreter, most of what is installed here, and no network."""

    def __init__(self, folder, server):
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        image = folder / "image"
        image.mkdir()
        for site in map(Path, sys.path):
            if site.name in {"site-packages", "dist-packages"}:
                for entry in site.iterdir():
                    link = image / entry.name
                    if not entry.name.startswith(ABSENT) and not link.exists():
                        link.symlink_to(entry)
        (image / "no_network.py").write_text(NO_NETWORK)
        (packages,) = (folder / "venv").glob("lib/python*/site-packages")
        (packages / "image.pth").write_text(f"{image}\nimport no_network\n")
        self.python = [folder / "venv" / "bin" / "python"]
        alone = [shutil.which("unshare") or "unshare", "--map-root-user", "--net"]
        if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0:
            self.python = [*alone, *self.python]
        else:
            warnings.warn("no network namespace here: only Python's sockets are shut", stacklevel=2)
        reach = f"import socket; socket.create_connection(('127.0.0.1', {server.http.server_port}))"
        assert "Error" in self.execute(reach).stderr

    def execute(self, code):
        script = self.folder / "code.py"
        script.write_text(code)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return subprocess.run(
            [*self.python, script],
            cwd=self.folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
        )

    def run_notebook(self, notebook):
        """Run the code that was pushed, with /kaggle/ in this machine's folder."""
        cells = json.loads(notebook["text"])["cells"]
        code = "\n\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
        return self.execute(code.replace("/kaggle/", f"{self.folder}/kaggle/"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory, server, competition, pushed):
    """The machine with the pushed dataset and the competition's data mounted."""
    made = Machine(tmp_path_factory.mktemp("machine"), server)
    mounts = made.folder / "kaggle" / "input"
    (mounts / "competitions").mkdir(parents=True)
    (mounts / "competitions" / SLUG).symlink_to(competition)
    (mounts / "offline-package").mkdir()
    for name, content in pushed[0].items():
        (mounts / "offline-package" / name).write_bytes(content)
    return made


def test_the_notebook_writes_the_runs_own_submission(machine, finished, pushed, competition):
    done = machine.run_notebook(pushed[1])
    assert done.returncode == 0, done.stderr
    written = (machine.folder / "kaggle" / "working" / "submission.csv").read_bytes()
    own = finished[0].folder / "runs" / "offline" / "submit" / "submission.csv"
    assert written == own.read_bytes()
    rows = list(csv.DictReader(written.decode().splitlines()))
    assert any(row["EncodedPixels"] for row in rows)
    bad = truncated(competition).name
    assert [row["EncodedPixels"] for row in rows if row["ImageId"] == bad] == [""]
    assert f"no object in test_v2/{bad}, which cannot be used" in done.stderr


def test_what_went_up_is_what_was_built_and_without_internet(finished, pushed):
    files, notebook = pushed
    folder = finished[0].folder / "runs" / "offline" / "package"
    assert sorted(path.name for path in (folder / "notebook").iterdir()) == [
        "kernel-metadata.json",
        "submit.ipynb",
    ]
    built = {path.name: path.read_bytes() for path in (folder / "dataset").iterdir()}
    assert {"config.yaml", "rules.json", "fold0.safetensors", "fold1.safetensors"} < files.keys()
    assert built.keys() - files.keys() == {"dataset-metadata.json"}
    assert all(built[name] == content for name, content in files.items())
    assert notebook["enableInternet"] is False
    assert notebook["datasetDataSources"] == [DATASET]
    assert notebook["competitionDataSources"] == [SLUG]


def test_a_damaged_dataset_and_one_of_another_version_are_refused(machine, pushed):
    folder = machine.folder / "kaggle" / "input" / "offline-package"
    weights, manifest = folder / "fold1.safetensors", folder / "manifest.json"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    try:
        assert "fold1.safetensors: expected SHA-256" in machine.run_notebook(pushed[1]).stderr
    finally:
        weights.write_bytes(pushed[0][weights.name])
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    try:
        done = machine.run_notebook(pushed[1])
        assert f"Add the dataset {DATASET} to this notebook, in the version" in done.stderr
    finally:
        manifest.write_bytes(pushed[0][manifest.name])


def test_the_command_predicts_without_the_run(finished, pushed, competition, tmp_path):
    dataset, output = tmp_path / "dataset", tmp_path / "again.csv"
    dataset.mkdir()
    for name, content in pushed[0].items():
        (dataset / name).write_bytes(content)
    checkout = finished[0]
    arguments = ["pipeline.commands.predict_package", "--data", str(competition)]
    arguments += ["--output", str(output), "--package", str(dataset)]
    checkout.run_module(*arguments)
    own = checkout.folder / "runs" / "offline" / "submit" / "submission.csv"
    assert output.read_bytes() == own.read_bytes()
    (dataset / "rules.json").unlink()
    output.unlink()
    told = checkout.run_module(*arguments, code=2)
    assert f"the package is damaged: {dataset / 'rules.json'}: missing" in told
    assert "Traceback" not in told
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["finetune.epochs=9"], "finetune.epochs was 2, now 9"),
        (["data.root=null", "--push", USER], "--push: this run is on the rendered demo"),
    ],
)
def test_what_cannot_be_packed_is_told_and_the_earlier_package_stays(
    finished, pushed, arguments, told
):
    output = package(finished, *arguments, code=2)
    assert told in output
    assert "Traceback" not in output
    folder = finished[0].folder / "runs" / "offline" / "package"
    assert (folder / "dataset" / "manifest.json").read_bytes() == pushed[0]["manifest.json"]
