"""What a package holds: every byte vouched for, all of our code, and nothing that is not there."""

import hashlib
import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.config.load import as_stored, load_config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.jobs.run import Run
from pipeline.package.build import build_package
from pipeline.package.contents import Package, find_damage
from pipeline.package.notebook import notebook
from pipeline.package.wheels import add_wheels

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"code")
    (tmp_path / "fold0.safetensors").write_bytes(b"weights")
    files = {path.name: sha256_file(path) for path in sorted(tmp_path.iterdir())}
    manifest = {"run": "r", "height": 1, "width": 1, "made_of": {}, "files": files}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_whole_package_has_no_damage(package):
    assert find_damage(package) == []


def test_every_damaged_file_is_named(package):
    (package / "fold0.safetensors").write_bytes(b"weighty")
    (package / "a.whl").unlink()
    missing, changed = find_damage(package)
    assert missing == f"{package / 'a.whl'}: missing"
    assert changed.startswith(f"{package / 'fold0.safetensors'}: expected SHA-256 ")
    with pytest.raises(ArtifactError, match=r"damaged: .*a\.whl: missing; .*fold0.*Build it again"):
        Package.open(package)


def test_a_file_that_the_manifest_does_not_name_is_told(package):
    (package / "dataset-metadata.json").write_text("{}")
    assert find_damage(package) == []
    (package / "b.whl").write_bytes(b"other code")
    (package / "sub").mkdir()
    unlisted = [f"{package / name}: not in the manifest" for name in ("b.whl", "sub")]
    assert find_damage(package) == unlisted
    with pytest.raises(ArtifactError, match=r"damaged: .*b\.whl: not in the manifest"):
        Package.open(package)


def test_weights_that_the_configuration_needs_are_in_the_manifest(package):
    config = load_config(ROOT / "tests" / "tiny.yaml", [])
    (package / "config.yaml").write_text(as_stored(config))
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"]["config.yaml"] = sha256_file(package / "config.yaml")
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"expected rules\.json, fold1\.safetensors in it"):
        Package.open(package)


def test_the_notebook_installs_what_the_manifest_names_and_nothing_else(package, monkeypatch):
    installed = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: installed.extend(command))
    (package / "b.whl").write_bytes(b"other code")
    cells = notebook("run", "me/run-package", "slug", "0" * 64)["cells"]
    _, _, check, install, _ = (cell["source"] for cell in cells)
    known = {"PACKAGE": package, "json": json, "hashlib": hashlib, "Path": Path}
    known |= {"subprocess": subprocess, "sys": sys, "importlib": importlib}
    with pytest.raises(RuntimeError, match=r"b\.whl: not in the manifest"):
        exec(check, known)
    exec(install, known)
    assert [path for path in installed if path.endswith(".whl")] == [str(package / "a.whl")]


def test_a_folder_that_is_no_package_is_told(package):
    with pytest.raises(ArtifactError, match=r"nowhere/manifest\.json: missing\. Expected the fold"):
        Package.open(package / "nowhere")
    (package / "manifest.json").write_text('{"stage": "train"}')
    with pytest.raises(ArtifactError, match="it lacks files, height, made_of, run, width"):
        Package.open(package)
    (package / "manifest.json").write_text('["files"]')
    with pytest.raises(ArtifactError, match="it lacks files, height, made_of, run, width"):
        Package.open(package)


def test_our_wheel_holds_the_whole_pipeline(tmp_path):
    before = sorted(ROOT.iterdir())
    add_wheels(tmp_path, [])
    assert sorted(ROOT.iterdir()) == before
    (wheel,) = tmp_path.iterdir()
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = [path for path in (ROOT / "pipeline").rglob("*.*") if "__pycache__" not in path.parts]
    assert held == {str(path.relative_to(ROOT)) for path in ours}


@pytest.mark.parametrize(
    ("wheels", "told"),
    [
        (["no-such-package"], "--wheels: no-such-package: not installed here"),
        (["no/such.whl"], r"--wheels: no/such\.whl: expected a wheel, found no such file"),
    ],
)
def test_a_wheel_that_cannot_be_known_is_told(tmp_path, wheels, told):
    with pytest.raises(ConfigError, match=told):
        add_wheels(tmp_path, wheels)


def test_a_wheel_that_pip_cannot_get_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        ArtifactError, match=r"pip download failed .*timm==.*--wheels a\.whl,b\.whl"
    ):
        add_wheels(tmp_path, ["timm"])


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        ("me/you", "tiny", "--push me/you: expected the name of a Kaggle account"),
        ("me", "a" * 43, "would have 51 letters, and Kaggle allows 50"),
    ],
)
def test_a_name_that_kaggle_would_refuse_is_told(tmp_path, monkeypatch, owner, name, told):
    config = load_config(ROOT / "tests" / "tiny.yaml", [f"name={name}"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        build_package(Run(config, restart=False), owner, [])


def test_a_run_that_is_not_finished_makes_no_package(tmp_path, monkeypatch):
    config = load_config(ROOT / "tests" / "tiny.yaml", [])
    monkeypatch.chdir(tmp_path)
    run = Run(config, restart=False)
    with pytest.raises(ArtifactError, match=r"so finetune fold 0 is not finished"):
        build_package(run, "me", [])
    assert not (run.folder / "package").exists()


def test_the_notebook_is_python_and_of_the_notebook_format():
    made = notebook("run", "me/run-package", "slug", "0" * 64)
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    assert len(code) == 4
    for source in code:
        compile(source, "cell", "exec")
