"""Pictures of one's own: any size and kind, one table, outlines, and errors that say what to do."""

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pixel_model import ALL, Channels, blobs, model_of

from pipeline.commands import build_package, compare, predict_images
from pipeline.commands._runs import open_run, run_folder
from pipeline.commands.predict_images import find_scenes, predict_scenes
from pipeline.config.load import as_stored, load_config
from pipeline.data.verify import verify_images
from pipeline.errors import ArtifactError, ConfigError, DataError
from pipeline.masks.instances import read_instances
from pipeline.report.overlay import overlay

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.unit


@pytest.fixture
def predicted(tmp_path):
    """Predict the pictures in a folder, and give the ImageIds with a result, and the error."""
    model = SimpleNamespace(
        config=load_config(ROOT / "configs" / "demo.yaml", []),
        classes=("ship",),
        device="cpu",
        identity={"made_of": "nothing"},
        find=lambda *_, **__: iter(()),
    )

    def predict(pictures, out=tmp_path / "out"):
        said = ""
        try:
            predict_images.predict_scenes(find_scenes([pictures]), model, out)
        except DataError as error:
            said = str(error)
        return read_instances(out / "instances.csv").ImageId.tolist(), said

    return predict


def test_pictures_that_cannot_be_used_are_told_as_stage_0_tells_them(tmp_path, predicted, caplog):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg")
    Image.new("I;16", (7, 5)).save(tmp_path / "deep.png")
    Image.new("CMYK", (7, 5)).save(tmp_path / "print.tif")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-20])
    (tmp_path / "text.png").write_text("no picture")
    names = ["cut.jpg", "deep.png", "print.tif", "text.png"]
    ids, said = predicted(tmp_path)
    assert ids == ["a.jpg"]
    assert said == "4 of 5 were not predicted: cut.jpg, deep.png, print.tif, text.png."
    reasons = verify_images([tmp_path / name for name in names], None, jobs=1).defect
    for name, reason in zip(names, reasons, strict=True):
        assert f"{tmp_path / name}: {reason}" in caplog.text


def test_names_of_any_bytes_keep_all_other_results(tmp_path, predicted, caplog):
    long = "x" * 239 + ".png"  # with .overlay.png as long as a file's name can be
    good = ["NA.png", "e\u0301.png", "nan", long, "é.png"]
    bad = [b"\xff.png", b"new\nline.png", b"x" * 240 + b".png"]
    for name in (*good, *map(os.fsdecode, bad), "._NA.png"):
        Image.new("RGB", (7, 5)).save(tmp_path / name, "PNG")
    (tmp_path / "nan").rename(tmp_path / "nan.png")
    ids, said = predicted(tmp_path)
    assert ids == [name.replace("nan", "nan.png") for name in good]
    assert said.startswith("3 of 8 were not predicted: 'new\\nline.png', xxx")
    assert said.endswith(r"x.png, '\udcff.png'.")
    assert caplog.text.count("not UTF-8. Rename the file") == 2
    assert "its name is 1 bytes too long. Rename the file" in caplog.text


def test_an_error_of_the_system_keeps_all_other_results(tmp_path, predicted, monkeypatch, caplog):
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (7, 5)).save(tmp_path / name)
    read = Path.read_bytes

    def fail(path):
        if path.name == "b.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert predicted(tmp_path) == (["a.png", "c.png"], "1 of 3 were not predicted: b.png.")
    assert f"{tmp_path / 'b.png'}: cannot be read: Permission denied" in caplog.text


def test_its_own_files_are_no_pictures(tmp_path, predicted):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    assert predicted(tmp_path, out=tmp_path) == (["a.png"], "")
    assert (tmp_path / "a.png.overlay.png").is_file()
    assert predicted(tmp_path, out=tmp_path) == (["a.png"], "")


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [*find_scenes([tmp_path])] == ["a.jpg", "b.PNG"]
    with pytest.raises(DataError, match="found nothing"):
        find_scenes([tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder without any"):
        find_scenes([tmp_path / "empty"])


def test_folders_in_folders_and_names_that_two_scenes_have(tmp_path):
    for name in ("a.png", "north/a.png", "south/a.png", "south/.hidden/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert [*find_scenes([tmp_path])] == ["a.png"]
    found = find_scenes([tmp_path, tmp_path / "a.png"], recursive=True)
    assert found == {name: tmp_path / name for name in ("a.png", "north/a.png", "south/a.png")}
    with pytest.raises(DataError, match=r"south/a\.png: .*north/a\.png has it, too\. Rename one"):
        find_scenes([tmp_path / "north", tmp_path / "south"])


def pictures_in(folder):
    for number, (name, side) in enumerate([("b.png", 90), ("sub/a.png", 30), ("c.png", 200)]):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(blobs(side, side, number, 0.4)).save(folder / name)
    return find_scenes([folder], recursive=True)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_stopped_it_goes_on_and_what_is_finished_is_not_predicted_again(tmp_path, monkeypatch):
    scenes = pictures_in(tmp_path / "pictures")
    predict_scenes(scenes, model_of(ALL), tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert len(expected) == 1 + 3 * 3 + 1
    network, calls = Channels.__call__, []

    def stop(self, images_nchw):
        calls.append(len(images_nchw))
        if len(calls) in (3, 9):
            raise KeyboardInterrupt
        return network(self, images_nchw)

    monkeypatch.setattr(Channels, "__call__", stop)
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            predict_scenes(scenes, model_of(ALL), out)
    assert read_instances(out / "instances.csv").ImageId.unique().tolist() == ["b.png"]
    assert [*out.rglob("windows/*.npz")]
    predict_scenes(scenes, model_of(ALL), out, block_px=70)
    assert contents(out) == expected
    before = len(calls)
    (out / "c.png.overlay.png").unlink()
    predict_scenes(scenes, model_of(ALL), out)
    assert contents(out) == expected
    assert len(calls) > before
    before = len(calls)
    predict_scenes({"b.png": scenes["b.png"]}, model_of(ALL), out)
    assert contents(out) == expected, "the table keeps what was found before"
    assert len(calls) == before


def test_what_another_model_or_other_pixels_gave_is_not_mixed_in(tmp_path, caplog):
    scenes = pictures_in(tmp_path / "pictures")
    predict_scenes(scenes, model_of(ALL), tmp_path / "out")
    expected = contents(tmp_path / "out")
    with pytest.raises(ArtifactError, match=r"objects of the same model, .* Give another --out"):
        predict_scenes(scenes, model_of(ALL, made_of={"calibrate": "again"}), tmp_path / "out")
    Image.new("RGB", (90, 90)).save(scenes["b.png"])
    with pytest.raises(DataError, match=r"1 of 3 were not predicted: b\.png"):
        predict_scenes(scenes, model_of(ALL), tmp_path / "out")
    assert "b.png: expected the pixels whose objects are in" in caplog.text
    assert contents(tmp_path / "out") == expected


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(ROOT / "configs" / "demo.yaml", ["name=one"])
    for folder in (Path("runs/one"), Path("elsewhere/runs/two")):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(as_stored(config))
    return tmp_path


def test_a_run_is_opened_by_its_name_or_its_folder(runs):
    for run in ("one", "runs/one", "./runs/one/", str(runs / "runs" / "one")):
        assert open_run(run).config.name == "one"
        assert run_folder(run).samefile("runs/one")
    Path("runs/linked").symlink_to(runs / "elsewhere" / "runs" / "two")
    assert open_run("runs/linked").config.name == "linked"


def test_a_run_that_is_not_there_is_told_with_those_that_are(runs):
    with pytest.raises(ConfigError, match=r"two: .*no runs/two/config\.yaml .*Runs here: one"):
        open_run("two")
    with pytest.raises(ConfigError, match=r"expected a run in .*/runs, got .*/elsewhere/runs/two"):
        open_run("elsewhere/runs/two")


@pytest.mark.parametrize("run", ["one", "runs/one"])
def test_a_package_is_of_a_run_by_its_name_or_its_folder(runs, run, monkeypatch):
    built = []
    monkeypatch.setattr(build_package, "stage", lambda run, *flags: built.append((run, *flags)))
    monkeypatch.setattr(sys, "argv", ["build_package", "--run", run, "--push", "me"])
    build_package.main()
    ((opened, *flags),) = built
    assert (opened.folder, flags) == (Path("runs/one"), ["me", None])
    monkeypatch.setattr(sys, "argv", ["build_package", "--run", run, "seed=1"])
    with pytest.raises(SystemExit, match="2"):
        build_package.main()


def test_a_run_is_not_compared_with_itself(runs, monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["compare", "one", "runs/one"])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    assert "expected two or more different runs, got one runs/one" in caplog.text


def test_the_overlay_lines_each_ship_and_leaves_the_sea():
    image_hwc = np.full((8, 9, 3), 50, np.uint8)
    labels_hw = np.zeros((8, 9), np.int32)
    labels_hw[1:4, 1:5], labels_hw[4:7, 1:5] = 1, 2
    drawn_hwc = overlay(image_hwc, labels_hw)
    assert (drawn_hwc[labels_hw == 0] == 50).all()
    assert (drawn_hwc[1, 1] == (230, 159, 0)).all()
    assert (drawn_hwc[4, 2] == (86, 180, 233)).all()  # the edge between two ships that touch
    assert not (drawn_hwc[2, 2] == drawn_hwc[1, 1]).all()
    assert (overlay(image_hwc, np.zeros((8, 9), np.int32)) == image_hwc).all()
