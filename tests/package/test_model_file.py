"""A model in one file finds what its run finds, says what it is, and is refused when changed."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline
from pipeline import load_model
from pipeline.commands import export_model, predict_images
from pipeline.commands._runs import open_run
from pipeline.config.load import load_config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps
from pipeline.masks.instances import read_instances
from pipeline.masks.rle import decode_mask
from pipeline.package import model_file
from pipeline.package.found import describe
from pipeline.selection.confidence import Confidence, object_levels

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]


def call(command, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
        command.main()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a finished run, its model file and two pictures, one of them large."""
    folder = tmp_path_factory.mktemp("exported") / "home"
    shutil.copytree(ROOT / "tests" / "stored_runs" / pipeline.__version__, folder)
    tiles = [cv2.imread(str(path)) for path in sorted(folder.glob("data/*/test_v2/*"))]
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "small.png"), tiles[0])
    cv2.imwrite(str(folder / "pictures" / "large.png"), np.vstack([np.hstack(tiles)] * 2)[:150])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call(export_model, "tiny", "--out", "ships.zip")
    return folder


def picture(folder, name):
    return cv2.imread(str(folder / "pictures" / name))[..., ::-1]


def test_the_file_is_the_same_each_time_and_its_manifest_is_last(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(exported)
    model_file.export_model(open_run("tiny"), tmp_path / "again.zip")
    assert sha256_file(tmp_path / "again.zip") == sha256_file(exported / "ships.zip")
    with zipfile.ZipFile("ships.zip") as archive:
        *names, last = archive.namelist()
        said = json.loads(archive.read(last))
        card = archive.read("card.md").decode()
    assert (last, names) == ("manifest.json", [*said["files"]])
    assert said["format"] == 1
    assert said["classes"] == ["ship"]
    scores = json.loads(Path("runs/tiny/calibrate/scores.json").read_text())
    assert f"{scores['f2']:.4f}" in card
    assert f"{scores['f2_standard_error']:.4f}" in card
    with pytest.raises(SystemExit, match="2"):
        call(export_model, "tiny", "--out", "ships.zip")


def test_the_command_writes_the_same_files_by_run_and_by_model(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(exported)
    call(predict_images, "pictures", "--run", "tiny", "--out", tmp_path / "run")
    call(predict_images, "pictures", "--model", "ships.zip", "--out", tmp_path / "model")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    names = [str(path.relative_to(tmp_path / "run")) for path in files if path.name != "lock"]
    assert len(names) == 8  # with a record of the model and of each picture
    for name in names:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_the_function_finds_what_the_command_finds(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(exported)
    call(predict_images, "pictures", "--run", "tiny", "--out", tmp_path)
    monkeypatch.chdir(tmp_path)
    model = load_model(exported / "ships.zip", device="cpu")
    table = read_instances(tmp_path / "instances.csv")
    names = ["large.png", "small.png"] * 2
    with ThreadPoolExecutor(2) as threads:
        each = list(threads.map(lambda name: model.predict(picture(exported, name)), names))
    for name, objects in zip(names, each, strict=True):
        assert [one.rle for one in objects] == table.EncodedPixels[table.ImageId == name].tolist()
        features = json.loads((tmp_path / f"{name}.geojson").read_text())["features"]
        assert objects
        for one, feature in zip(objects, features, strict=True):
            rings = feature["geometry"]["coordinates"]
            assert [[r[:-1] for r in part] for part in rings] == [
                [ring.tolist() for ring in part] for part in one.polygons
            ]
            assert feature["properties"]["area_px"] == one.area_px
            assert abs(feature["properties"]["mean_probability"] - one.mean_probability) <= 5e-5


def test_what_is_no_image_is_told(exported):
    model = load_model(str(exported / "ships.zip"))
    for wrong in (np.zeros((8, 8, 3)), [[1, 2, 3]]):
        with pytest.raises(TypeError, match=r"expected a numpy array of uint8, got (float64|list)"):
            model.predict(wrong)
    for shape in ((8, 8), (3, 8, 8), (8, 8, 4), (0, 8, 3)):
        with pytest.raises(ValueError, match=re.escape(f"(h, w, 3), RGB, got {shape}")):
            model.predict(np.zeros(shape, np.uint8))
    assert model.predict(np.zeros((1, 1, 3), np.uint8)) == []
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda or None, got 'tpu'"):
        load_model(exported / "ships.zip", device="tpu")


def without(held, left_out):
    return {name: content for name, content in held.items() if name != left_out}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda held: held | {"rules.json": b"{}"}, r"x\.zip/rules\.json: expected SHA-256"),
        (lambda held: held | {"more.txt": b""}, r"x\.zip/more\.txt: not in the manifest"),
        (lambda held: held | {"../more.txt": b""}, r"in no folder, got '\.\./more\.txt'"),
        (lambda held: held | {"/tmp/more.txt": b""}, r"in no folder, got '/tmp/more\.txt'"),
        (lambda held: held | {"a/more.txt": b""}, r"in no folder, got 'a/more\.txt'"),
        (lambda held: held | {"..": b""}, r"in no folder, got '\.\.'"),
        (
            lambda held: without(held, "card.md"),
            r"x\.zip/card\.md: missing",
        ),
        (
            lambda held: without(held, "manifest.json"),
            r"expected manifest",
        ),
        (
            lambda held: held | {"manifest.json": b'{"format": 3}'},
            "expected a model file of format 1 to 2, .* got 3. Use the version that wrote it",
        ),
        (
            lambda held: held | {"manifest.json": b'{"format": 1}'},
            "lacks files, height, made_of",
        ),
        (
            lambda held: held | {"manifest.json": b"["},
            r"x\.zip: expected a whole model file",
        ),
    ],
)
def test_a_file_of_other_members_is_refused(exported, tmp_path, change, told):
    with zipfile.ZipFile(exported / "ships.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in change(held).items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match=told):
        load_model(tmp_path / "x.zip")
    assert list(tmp_path.rglob("more.txt")) == []


def test_a_file_of_changed_bytes_is_refused(exported, tmp_path):
    whole, path = (exported / "ships.zip").read_bytes(), tmp_path / "x.zip"
    with zipfile.ZipFile(exported / "ships.zip") as archive:
        inside = [info.header_offset + 100 for info in archive.infolist()]
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in inside]
    changed.append(whole[:-4] + b"\x01" + whole[-3:])  # where the list of members is
    for content in (*changed, whole[:-1], whole[: len(whole) // 2], b"no zip", b""):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"x\.zip: expected a whole model file.*Copy it"):
            load_model(path)
    with pytest.raises(ArtifactError, match=r"gone\.zip: expected a model file, found none"):
        load_model(tmp_path / "gone.zip")


def with_code(held):
    """The members of a model file as if the network were in a file of one's own."""
    config = re.sub(rb"arch: \w+", b"arch: file:net.py:Net", held["config.yaml"])
    known = json.loads(held["manifest.json"])
    members = {"config.yaml": config, "net.py": b"raise SystemExit('it was run')"}
    known["files"] |= {name: hashlib.sha256(text).hexdigest() for name, text in members.items()}
    return held | members | {"manifest.json": json.dumps(known).encode()}


def test_a_model_file_holds_no_code(exported, tmp_path, monkeypatch):
    with zipfile.ZipFile(exported / "ships.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in with_code(held).items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match=r"x\.zip: .*net\.py:Net: a model file holds no code"):
        load_model(tmp_path / "x.zip")
    network = "network={arch: 'file:net.py:Net', encoder: null, weights: none, options: {}}"
    config = load_config(ROOT / "tests" / "tiny.yaml", ["name=own", network])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"own: .*holds no code. A package"):
        model_file.export_model(Run(config, restart=False), tmp_path / "y.zip")


def test_the_package_is_imported_without_torch():
    code = "import sys, pipeline; pipeline.load_model; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_example_of_the_documents_runs(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(exported / "ships.zip", "ships.zip")
    shutil.copy(exported / "pictures" / "small.png", "harbour.png")
    page = (ROOT / "docs" / "model.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.startswith("ship ")


def test_the_notebook_of_the_documents_runs(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    shutil.copy(exported / "ships.zip", "ships.zip")
    shutil.copy(exported / "pictures" / "small.png", "harbour.png")
    page = json.loads((ROOT / "docs" / "model.ipynb").read_text())
    cells = [cell for cell in page["cells"] if cell["cell_type"] == "code"]
    known = {}
    for cell in cells:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        exec("".join(cell["source"]), known)
    assert len(known["table"]) == len(known["objects"]) > 0
    assert sum(line != "\n" for cell in cells for line in cell["source"]) <= 25
    lines = known["plt"].gca().lines
    assert len(lines) == sum(len(part) for one in known["objects"] for part in one.polygons)
    known["plt"].close("all")


@pytest.mark.unit
@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 12)] * 2), elements=st.integers(0, 1)))
def test_an_object_is_described_by_its_pixels(mask_hw):
    prob_hw = np.arange(mask_hw.size, dtype=np.uint8).reshape(mask_hw.shape)
    line = Confidence(-1.0, 0.5, 0.25)
    objects = describe("a", mask_hw.astype(np.int32), ImageMaps(prob_hw), line)
    assert len(objects) == mask_hw.any()
    for one in objects:
        assert (decode_mask(one.rle, *mask_hw.shape) == mask_hw).all()
        rows, columns = mask_hw.nonzero()
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert one.box_xyxy == box
        assert one.area_px == mask_hw.sum()
        assert one.mean_probability == pytest.approx(prob_hw[mask_hw > 0].mean() / 255)
        chance = line.of(object_levels(mask_hw.astype(np.int32), prob_hw))
        assert one.confidence == chance[0]
        corners = shapely.MultiPoint(np.concatenate([rings[0] for rings in one.polygons]))
        around = one.rectangle
        assert around.length_px >= around.width_px
        assert 0 <= around.angle_deg < 180
        least_px = corners.minimum_rotated_rectangle.area
        assert around.length_px * around.width_px == pytest.approx(least_px, rel=1e-3)
        turned = np.deg2rad(around.angle_deg)
        axes = np.array([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
        xy = np.array([(point.x, point.y) for point in corners.geoms])
        reach = np.abs((xy - around.centre_xy) @ axes.T).max(0)
        assert (reach <= np.array([around.length_px, around.width_px]) / 2 + 1e-3).all()
