"""Rasters with coordinates, from the command to the map; pictures beside them stay as they are."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
from PIL import Image
from pixel_model import ALL, blobs, model_of

from pipeline.commands import predict_images
from pipeline.commands.predict_images import find_scenes, predict_scenes
from pipeline.errors import ConfigError, DataError
from pipeline.masks.instances import read_instances
from pipeline.scenes.stretch import parse_stretch

pytestmark = pytest.mark.unit

IMAGE_HWC = blobs(70, 90, 1, 0.3)
MATRIX = rasterio.Affine.translation(500_000, 6_000_000) @ rasterio.Affine.scale(10, -10)


def geotiff(path, values_hwc):
    height, width, count = values_hwc.shape
    known = {"height": height, "width": width, "count": count, "dtype": values_hwc.dtype}
    with rasterio.open(path, "w", "GTiff", **known, crs="EPSG:32633", transform=MATRIX) as dataset:
        dataset.write(values_hwc.transpose(2, 0, 1))
    return path


@pytest.fixture
def scenes(tmp_path):
    """The same pixels three times: with coordinates, without, and as a picture."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    geotiff(folder / "map.tif", IMAGE_HWC)
    Image.fromarray(IMAGE_HWC).save(folder / "bare.tif")
    Image.fromarray(IMAGE_HWC).save(folder / "picture.png")
    return folder


def test_a_map_has_the_objects_of_a_picture_and_says_where_they_are(scenes, tmp_path):
    out = tmp_path / "out"
    predict_scenes(find_scenes([scenes]), model_of(ALL), out)
    assert {path.name for path in out.iterdir()} == {
        *("instances.csv", "objects.csv", ".scenes", "map.tif.gpkg", "map.tif.geojson"),
        *("map.tif.overlay.png", "map.tif.overlay.pgw", "bare.tif.geojson"),
        *("bare.tif.overlay.png", "picture.png.geojson", "picture.png.overlay.png"),
    }
    masks = read_instances(out / "instances.csv").groupby("ImageId").EncodedPixels.apply(list)
    assert masks["map.tif"] == masks["bare.tif"] == masks["picture.png"]
    frame = pyogrio.read_dataframe(out / "map.tif.gpkg")
    assert frame.crs.to_epsg() == 32633
    assert len(frame) == len(masks["map.tif"]) > 10
    table = pd.read_csv(out / "objects.csv")
    assert table.scene.unique().tolist() == ["map.tif"]
    assert table.area_px.tolist() == [
        sum(map(int, text.split()[1::2])) for text in masks["map.tif"]
    ]
    boxes = frame.geometry.bounds.to_numpy()
    for box, text in zip(boxes, masks["map.tif"], strict=True):
        starts, lengths = np.array(text.split(), int).reshape(-1, 2).T
        columns, rows = np.divmod(starts - 1, 70)
        edges = [columns.min(), (rows + lengths).max(), columns.max() + 1, rows.min()]
        corners = [MATRIX @ edges[:2], MATRIX @ edges[2:]]
        assert np.abs(box - np.ravel(corners)).max() <= 5  # half a pixel


def test_values_of_16_bits_give_the_same_objects_once_they_are_stretched(scenes, tmp_path, caplog):
    geotiff(scenes / "deep.tif", IMAGE_HWC.astype(np.uint16) * 40 + 1000)
    with pytest.raises(DataError, match=r"1 of 4 were not predicted: deep\.tif"):
        predict_scenes(find_scenes([scenes]), model_of(ALL), tmp_path / "out")
    assert "expected a --stretch that makes 0..255 of values of uint16" in caplog.text
    deep = {"deep.tif": scenes / "deep.tif"}
    how = {"stretch": parse_stretch("gain:0.025,-1000")}
    predict_scenes(deep, model_of(ALL), tmp_path / "out", how=how)
    masks = read_instances(tmp_path / "out" / "instances.csv").groupby("ImageId").EncodedPixels
    assert masks.get_group("deep.tif").tolist() == masks.get_group("map.tif").tolist()
    assert pd.read_csv(tmp_path / "out" / "objects.csv").scene.nunique() == 2
    how = {"stretch": parse_stretch("minmax:0,9000")}
    with pytest.raises(DataError, match="1 of 1"):
        predict_scenes(deep, model_of(ALL), tmp_path / "out", how=how)
    assert "how it is read, has changed" in caplog.text


def test_without_the_extra_pictures_are_predicted_and_maps_refused(scenes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    out = tmp_path / "out"
    pictures = {name: scenes / name for name in ("bare.tif", "picture.png")}
    predict_scenes(pictures, model_of(ALL), out)
    assert read_instances(out / "instances.csv").ImageId.nunique() == 2
    with pytest.raises(ConfigError, match=r'pip install .*"\.\[geo\]"'):
        predict_scenes({"map.tif": scenes / "map.tif"}, model_of(ALL), out)


def test_a_picture_stays_one_beside_statistics_that_a_viewer_wrote(scenes, tmp_path, caplog):
    (scenes / "picture.png.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    picture = {"picture.png": scenes / "picture.png"}
    predict_scenes(picture, model_of(ALL), tmp_path / "out")
    assert not (tmp_path / "out" / "objects.csv").exists()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(IMAGE_HWC).save(scenes / "picture.png", exif=turned)
    with pytest.raises(DataError, match="1 of 1"):
        predict_scenes(picture, model_of(ALL), tmp_path / "more", how={"bands": (1,)})
    assert "EXIF turns this picture" in caplog.text


def test_a_scene_that_changed_half_way_does_not_stop_the_others(scenes, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    every = {name: scenes / name for name in ("map.tif", "picture.png")}
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.scenes.scene.write_scene", stop)
        with pytest.raises(KeyboardInterrupt):
            predict_scenes(every, model_of(ALL), tmp_path / "out")
    os.utime(scenes / "map.tif", (1, 1))
    with pytest.raises(DataError, match=r"1 of 2 were not predicted: map\.tif"):
        predict_scenes(every, model_of(ALL), tmp_path / "out")
    assert (tmp_path / "out" / "picture.png.geojson").exists()


WRONG = {
    "--bands 1,2": "--bands: expected the numbers",
    "--bands=": "--bands: expected the numbers",
    "--stretch=": "--stretch: expected none, minmax",
    "--stretch more": "--stretch: expected none, minmax",
    "--gsd 0": "expected metres above 0, got '0'",
    "--gsd wide": "expected metres above 0, got 'wide'",
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_said_of_rasters_is_checked_first(said, scenes, monkeypatch, capsys, caplog):
    arguments = ["predict_images", str(scenes), "--run", "none", "--out", "out", *said.split()]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(predict_images, "_model", lambda _: model_of(ALL))
    with pytest.raises(SystemExit, match="2"):
        predict_images.main()
    assert WRONG[said] in capsys.readouterr().err + caplog.text
    assert not Path("out").exists()
