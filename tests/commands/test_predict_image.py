"""Pictures of one's own: any size and kind, one table, outlines, and errors that say what to do."""

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.predict_image import find_pictures, open_run, read_picture
from pipeline.errors import ConfigError, DataError
from pipeline.report.overlay import overlay

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "LA"])
def test_pictures_of_every_8_bit_kind_are_read(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (7, 5)).save(path)
    picture_hwc = read_picture(path)
    assert picture_hwc.shape == (5, 7, 3)
    assert picture_hwc.dtype == np.uint8


def test_a_turned_picture_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (7, 5, 3)


def test_pictures_that_cannot_be_used_are_told(tmp_path):
    Image.new("I;16", (7, 5)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: expected 8 bits a channel, got mode I"):
        read_picture(tmp_path / "deep.png")
    Image.effect_noise((90, 90), 50).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg: expected a picture, cannot decode it"):
        read_picture(tmp_path / "cut.jpg")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: expected a picture"):
        read_picture(tmp_path / "text.png")


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(DataError, match="found nothing"):
        find_pictures(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder without pictures"):
        find_pictures(tmp_path / "empty")


def test_a_run_that_is_not_there_is_told_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"--run two: no runs/two/config\.yaml\. Runs here: one"):
        open_run("two")


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
