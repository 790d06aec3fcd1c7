"""Rasters of every kind are read as they are, whatever window is asked for, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasters import GCPS, PLACES, at, control_points, write

from pipeline.config.load import load_config
from pipeline.errors import ConfigError, DataError
from pipeline.inference.regions import Box
from pipeline.scenes.bands import choose_bands, parse_bands
from pipeline.scenes.raster import compare_gsd, open_raster
from pipeline.scenes.stretch import Stretch, parse_stretch

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def noise(shape, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -9000), min(info.max, 9000), shape, dtype, endpoint=True)


def read(path, **options):
    with open_raster(path, **options) as raster:
        return raster.read(Box(0, 0, raster.height, raster.width))


def window(rng, raster):
    top, bottom = np.sort(rng.choice(raster.height + 1, 2, replace=False)).tolist()
    left, right = np.sort(rng.choice(raster.width + 1, 2, replace=False)).tolist()
    return Box(top, left, bottom, right)


FORMATS = {
    "striped": {},
    "tiled": {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    "planes": {"interleave": "band", "compress": "lzw"},
    "cog": {"driver": "COG", "blocksize": 128, "compress": "zstd"},
    "jp2": {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"},
    "png": {"driver": "PNG"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_own_pixels(tmp_path, name):
    values = noise((3, 90, 70))
    image_hwc, valid_hw = read(write(tmp_path / f"a.{name}", values, **FORMATS[name]))
    assert np.array_equal(image_hwc, values.transpose(1, 2, 0))
    assert valid_hw.all()


def test_a_vrt_is_read_and_its_sources_belong_to_it(tmp_path):
    values = noise((3, 40, 50))
    write(tmp_path / "a.tif", values)
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    with open_raster(tmp_path / "a.vrt") as raster:
        assert {file["name"] for file in raster.identity["files"]} == {"a.tif", "a.vrt"}
        assert np.array_equal(
            raster.read(Box(3, 4, 9, 8))[0], values[:, 3:9, 4:8].transpose(1, 2, 0)
        )


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("stretch", ["minmax:-0.5,2.5", "percentile:2,98", "gain:0.02,1000"])
def test_values_become_levels_as_the_formula_says(tmp_path, dtype, stretch):
    values = noise((3, 60, 50), dtype)
    path = write(tmp_path / "a.tif", values)
    image_hwc, _ = read(path, bands=(3, 1, 2), stretch=parse_stretch(stretch))
    exact = values[[2, 0, 1]].astype(float)
    kind, (first, last) = parse_stretch(stretch).kind, parse_stretch(stretch).numbers
    if kind == "gain":
        exact = (exact + last) * first
    else:
        if kind == "percentile":
            first, last = np.percentile(exact, [first, last], axis=(1, 2))[..., None, None]
        exact = (exact - first) / (last - first) * 255
    expected = np.clip(exact, 0, 255).transpose(1, 2, 0)
    assert np.abs(image_hwc - expected).max() <= 0.5 + 1e-6


def test_white_may_be_the_lowest_value(tmp_path):
    values = np.arange(200, dtype=np.uint8)[None, None]
    known = {"crs": "EPSG:32633", "transform": at(0, 0, 1), "photometric": "MINISWHITE"}
    image_hwc, _ = read(write(tmp_path / "a.tif", values, **known))
    assert (image_hwc[..., 0] == 255 - values[0]).all()


def test_the_stretch_that_is_proposed_is_taken(tmp_path):
    values = np.linspace(300, 300.05, 500, dtype=np.float32).reshape(1, 20, 25)
    path = write(tmp_path / "a.tif", values)
    with pytest.raises(DataError) as refused:
        open_raster(path)
    proposed = str(refused.value).partition("--stretch minmax:")[2].partition(";")[0]
    image_hwc, _ = read(path, stretch=parse_stretch(f"minmax:{proposed}"))
    assert (image_hwc.min(), image_hwc.max()) == (0, 255)
    assert len(np.unique(image_hwc)) > 200


def test_values_of_nothing_valid_need_no_stretch(tmp_path):
    _, valid_hw = read(write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint16), nodata=0))
    assert not valid_hw.any()


def test_one_band_is_grey(tmp_path):
    values = noise((1, 20, 30))
    image_hwc, _ = read(write(tmp_path / "a.tif", values))
    assert np.array_equal(image_hwc, values.repeat(3, 0).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("meanings", "bands"),
    [
        (["gray"], (1,)),
        (["gray", "alpha"], (1,)),
        (["undefined"] * 3, (1, 2, 3)),
        (["red", "green", "blue", "alpha"], (1, 2, 3)),
        (["blue", "green", "red"], (3, 2, 1)),
        (["blue", "green", "red", "undefined", "undefined"], (3, 2, 1)),
        (["gray", *["undefined"] * 3], None),
        (["gray", "undefined"], None),
        (["palette"], None),
    ],
    ids=str,
)
def test_bands_are_those_that_the_file_says(meanings, bands):
    if bands is None:
        with pytest.raises(DataError, match=r"--bands (1$|3,2,1)|expand rgb"):
            choose_bands(None, meanings, ["B02", *[None] * (len(meanings) - 1)])
    else:
        assert choose_bands(None, meanings, [None] * len(meanings)) == bands


@pytest.mark.parametrize("text", ["", "0", "1,2", "1,2,3,4", "a", "1.5", "-1", "1,,2"])
def test_bands_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match="--bands: expected"):
        parse_bands(text)
    assert parse_bands("3,2, 1") == (3, 2, 1)


@pytest.mark.parametrize(
    "text",
    ["", "auto", "minmax", "minmax:1", "minmax:2,2", "minmax:nan,3", "minmax:0,inf", "none:1,2",
     "percentile:-1,98", "percentile:2,101", "percentile:98,2", "gain:0,1", "gain:x,1"],
)  # fmt: skip
def test_a_stretch_that_makes_no_sense_is_refused(text):
    with pytest.raises(ConfigError, match="--stretch: expected"):
        parse_stretch(text)


def test_what_was_used_is_said():
    assert str(parse_stretch("gain:0.02,-1000")) == "gain:0.02,-1000"
    assert str(parse_stretch("none")) == "none"
    assert parse_stretch(str(Stretch("minmax", (1.5, 3e5)))) == Stretch("minmax", (1.5, 3e5))


@pytest.mark.parametrize("stretch", [None, Stretch("none")], ids=str)
def test_more_than_8_bits_need_a_stretch_which_is_proposed(tmp_path, stretch):
    values = noise((3, 60, 50), "uint16")
    values[:, :10] = 60_000
    path = write(tmp_path / "a.tif", values, nodata=60_000)
    with pytest.raises(DataError, match=r"values of uint16.*--stretch minmax:\d+,\d+") as caught:
        open_raster(path, stretch=stretch)
    proposed = str(caught.value).partition("lie in --stretch ")[2].partition(";")[0]
    black, white = parse_stretch(proposed).numbers
    assert 100 < black < 300
    assert 8700 < white < 9000
    read(path, stretch=parse_stretch(proposed))


def test_percentiles_are_of_the_whole_scene_and_never_of_overviews(tmp_path):
    values = np.full((1, 3000, 200), 7, "uint16")
    values[:, 1500:] = np.arange(1500, dtype="uint16")[:, None]
    path = write(tmp_path / "a.tif", values, tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.average)
        dataset.update_tags(ns="rio_overview", resampling="average")
    with open_raster(path, stretch=parse_stretch("percentile:0,100")) as raster:
        ((black, white),) = raster.identity["black_and_white"]
    assert black == 0
    assert white in values[:, ::3]
    assert white >= 1497


def test_invalid_pixels_of_every_kind(tmp_path):
    values = noise((3, 40, 50))
    values[:, 3, 4] = 0
    values[0, 5, 6], values[1, 5, 6] = 0, 9  # of one band alone: a dark red, not nodata
    wanted = np.ones((40, 50), bool)
    wanted[3, 4] = False
    wanted &= (values > 0).any(0)
    nodata = write(tmp_path / "nodata.tif", values, nodata=0)
    opacity = np.concatenate([values, 255 * wanted[None].astype("uint8")])
    alpha = write(tmp_path / "alpha.tif", opacity)
    masked = tmp_path / "mask.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(masked, values)
        with rasterio.open(masked, "r+") as dataset:
            dataset.write_mask(wanted)
    for path in (nodata, alpha, masked):
        image_hwc, valid_hw = read(path)
        assert np.array_equal(valid_hw, wanted), path
        assert not image_hwc[~wanted].any()
    floats = values.astype("float32")
    floats[2, ~wanted] = np.nan
    floats[1, 30, 30] = np.inf
    wanted[30, 30] = False
    _, valid_hw = read(write(tmp_path / "nan.tif", floats), stretch=Stretch("minmax", (0, 255)))
    assert np.array_equal(valid_hw, wanted)


def test_infrared_that_is_marked_as_opacity_is_not_used_as_such(tmp_path, caplog):
    values = noise((4, 40, 50))
    values[3, :20] = 0  # water
    image_hwc, valid_hw = read(write(tmp_path / "a.tif", values))
    assert valid_hw.all()
    assert np.array_equal(image_hwc, values[:3].transpose(1, 2, 0))
    assert "band 4 is marked as opacity, but 49 %" in caplog.text
    assert read(tmp_path / "a.tif", bands=(4, 1, 2))[1].all()


@pytest.mark.parametrize("gsd", [None, 25.0, 14.0, 10.5, 3.0])
@pytest.mark.parametrize("kind", ["nodata", "gcps"])
def test_a_pixel_is_the_same_whatever_window_is_read(tmp_path, gsd, kind):
    values = noise((3, 190, 210), "uint16")
    values[:, 50:70, 60:90] = 0
    crs, transform = GCPS
    place = (
        {"transform": transform}
        if kind == "nodata"
        else {"gcps": control_points(transform, 190, 210)}
    )
    path = write(tmp_path / "a.tif", values, crs=crs, nodata=0, **place)
    rng = np.random.default_rng(1)
    with open_raster(path, stretch=parse_stretch("percentile:1,99"), gsd=gsd) as raster:
        whole_hwc, whole_hw = raster.read(Box(0, 0, raster.height, raster.width))
        assert 0 < whole_hw.mean() < 1
        for _ in range(40):
            box = window(rng, raster)
            image_hwc, valid_hw = raster.read(box)
            assert np.array_equal(image_hwc, whole_hwc[box.slices])
            assert np.array_equal(valid_hw, whole_hw[box.slices])


def test_larger_pixels_are_means_of_their_area_as_gdal_computes_them(tmp_path):
    values = noise((3, 90, 110))
    transform = at(500_000, 5_000_000, 10)
    path = write(tmp_path / "a.tif", values, "EPSG:32633", transform)
    image_hwc, valid_hw = read(path, gsd=25.0)
    with open_raster(path) as raster, rasterio.open(path) as dataset:
        scale = 25 / np.array(raster.gsd_xy)
        height, width = image_hwc.shape[:2]
        finer = transform @ Affine.scale(*scale)
        with WarpedVRT(
            dataset, crs=dataset.crs, transform=finer, width=width, height=height,
            resampling=Resampling.average, tolerance=1e-9,
        ) as vrt:  # fmt: skip
            expected = vrt.read().transpose(1, 2, 0).astype(int)
    assert valid_hw.all()
    assert np.abs(image_hwc - expected).max() <= 1


def test_smaller_pixels_are_interpolated(tmp_path):
    ramp = np.broadcast_to(np.arange(40, 100, dtype="uint8")[None, None], (3, 50, 60))
    path = write(tmp_path / "a.tif", ramp, "EPSG:32633", at(500_000, 5_000_000, 10))
    image_hwc, _ = read(path, gsd=2.5)
    at_px = (np.arange(image_hwc.shape[1]) + 0.5) / 4 - 0.5
    expected = np.interp(at_px, np.arange(60), np.arange(40, 100))
    assert np.abs(image_hwc[7, :, 0] - expected).max() <= 0.6
    assert np.ptp(image_hwc, axis=0).max() == 0


@pytest.mark.parametrize("name", PLACES)
def test_a_coarser_grid_lies_where_the_raster_does(tmp_path, name):
    crs, transform = PLACES[name]
    path = write(tmp_path / "a.tif", noise((1, 80, 90)), crs, transform)
    with open_raster(path) as own:
        gsd = 3 * max(own.gsd_xy)
        with open_raster(path, gsd=gsd) as raster:
            (jacobian,) = raster.georeference.metres_per_px(
                np.array([[raster.width, raster.height]]) / 2
            )
            assert np.hypot(*jacobian) == pytest.approx([gsd, gsd], rel=1e-3)
            shared = np.array([[0.0, 0.0], [9.0, 6.0]])
            there = shared * gsd / own.gsd_xy
            assert np.allclose(raster.georeference.locate(shared), own.georeference.locate(there))


def test_pixels_of_another_size_than_trained_are_warned_of(tmp_path, caplog):
    path = write(tmp_path / "a.tif", noise((1, 80, 90)), "EPSG:4326", at(24.9, 60, 2e-5, tall=0.5))
    with open_raster(path) as raster:
        assert raster.gsd_xy == pytest.approx((1.116, 1.114), rel=1e-3)
        compare_gsd(raster, trained_at(1.2))
        compare_gsd(raster, trained_at(None))
        assert not caplog.records
        compare_gsd(raster, trained_at(1.5))
        assert "1.11" in caplog.text
        assert "1.5 m" in caplog.text
        assert "--gsd 1.5" in caplog.text
        with open_raster(path, gsd=1.115) as same:
            assert same.width == 90
    with open_raster(path, gsd=1.5) as raster:
        compare_gsd(raster, trained_at(1.5))
    assert len(caplog.records) == 1


def trained_at(gsd):
    return load_config(DEMO, []).data.model_copy(update={"gsd": gsd})


def test_metres_need_coordinates(tmp_path, caplog):

    plain = write(tmp_path / "a.tif", noise((1, 8, 9)))
    no_system = write(tmp_path / "b.tif", noise((1, 8, 9)), None, at(0, 0, 2))
    for path in (plain, no_system):
        with pytest.raises(DataError, match=r"[ab]\.tif: --gsd 2: expected coordinates"):
            open_raster(path, gsd=2)
        with open_raster(path) as raster:
            assert raster.georeference is None
        assert f"{path}: no coordinates or no reference system" in caplog.text
    located = write(tmp_path / "c.tif", noise((1, 8, 9)), "EPSG:32633", at(5e5, 5e6, 2))
    for gsd in (0.0, -1.0, float("nan"), 1e-6):
        with pytest.raises(DataError, match=r"expected metres a pixel"):
            open_raster(located, gsd=gsd)
    with open_raster(located, gsd=1e4) as raster:
        assert (raster.width, raster.height) == (1, 1)


def test_what_is_no_usable_raster_is_refused(tmp_path):
    (tmp_path / "text.tif").write_text("no raster")
    values = noise((3, 8, 9))
    complex_ = write(tmp_path / "complex.tif", values.astype("complex64"))
    sensor = write(tmp_path / "rpc.tif", values)
    model = {"LINE_OFF": 1, "SAMP_OFF": 1, "LAT_OFF": 1, "LONG_OFF": 1, "HEIGHT_OFF": 1}
    model |= {key.replace("OFF", "SCALE"): 1 for key in model}
    model |= {
        f"{a}_{b}_COEFF": " ".join(["1"] * 20) for a in ("LINE", "SAMP") for b in ("NUM", "DEN")
    }
    with rasterio.open(sensor, "r+") as dataset:
        dataset.update_tags(ns="RPC", **model)
    for path, said in (
        (tmp_path / "none.tif", "expected a raster that GDAL reads"),
        (tmp_path / "text.tif", "expected a raster that GDAL reads"),
        (complex_, r"complex.tif: expected real values"),
        (sensor, "gdalwarp -rpc"),
    ):
        with pytest.raises(DataError, match=said):
            open_raster(path, stretch=Stretch("minmax", (0, 1)))
    path = write(tmp_path / "a.tif", values)
    with pytest.raises(DataError, match=r"a\.tif: expected bands from 1 to 3.*got 4"):
        open_raster(path, bands=(4, 3, 2))


def test_a_file_that_only_names_others_names_them(tmp_path):
    netcdf = pytest.importorskip("scipy.io").netcdf_file(tmp_path / "two.nc", "w")
    for axis, size in (("y", 4), ("x", 5)):
        netcdf.createDimension(axis, size)
    for name in ("red", "green"):
        netcdf.createVariable(name, "i2", ("y", "x"))[:] = 1
    netcdf.close()
    with pytest.raises(DataError, match=r"only names others: .*red.*green.*gdal_translate"):
        open_raster(tmp_path / "two.nc")


@pytest.mark.parametrize("driver", ["PNG", "ENVI", "JPEG", "JP2OpenJPEG", "BMP", "WEBP"])
def test_no_format_is_cut_short_without_a_word(tmp_path, driver):
    path = write(tmp_path / "a.dat", noise((3, 64, 64)), driver=driver)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cut short"):
        read(path)


@pytest.mark.parametrize("number", [1, 3])
def test_too_few_control_points_are_refused(tmp_path, number):
    crs, transform = GCPS
    points = control_points(transform, 20, 30)[:number]  # on a line
    path = write(tmp_path / "a.tif", noise((3, 20, 30)), crs=crs, gcps=points)
    with pytest.raises(
        DataError, match=rf"a\.tif: expected three ground control .* got {number}\."
    ):
        open_raster(path)


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        ("EPSG:32633", Affine(0, 0, 5, 0, 0, 6), "expected coordinates on the earth"),
        ('LOCAL_CS["site",UNIT["metre",1]]', at(0, 0, 1), "no known relation"),
    ],
    ids=["no size", "local"],
)
def test_places_that_are_nowhere_are_refused(tmp_path, crs, transform, said):
    with pytest.raises(DataError, match=rf"a\.tif: .*{said}"):
        open_raster(write(tmp_path / "a.tif", noise((3, 20, 30)), crs, transform))


@pytest.mark.parametrize("compress", ["none", "deflate", "jpeg"])
def test_a_file_cut_short_is_refused_where_it_is_read(tmp_path, compress):
    values = noise((3, 256, 256))
    path = write(
        tmp_path / "a.tif", values, compress=compress, tiled=True, blockxsize=64, blockysize=64
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with open_raster(path) as raster:
        raster.read(Box(0, 0, 40, 50))
        with pytest.raises(DataError, match=r"a\.tif: rows 200 to 249, columns 10 to 255 cannot"):
            raster.read(Box(200, 10, 250, 256))
    with pytest.raises(DataError, match=r"^\S+a\.tif: rows 0 to 255, columns 0 to 255 cannot"):
        open_raster(path, stretch=parse_stretch("percentile:2,98"))


def test_a_scene_of_nodata_alone_is_read(tmp_path, caplog):
    path = write(tmp_path / "a.tif", np.zeros((3, 50, 60), "uint16"), nodata=0)
    image_hwc, valid_hw = read(path, stretch=parse_stretch("percentile:2,98"))
    assert not valid_hw.any()
    assert not image_hwc.any()
    assert "a.tif: no pixel is valid" in caplog.text


def test_identity_says_all_that_decides_the_pixels(tmp_path):
    path = write(tmp_path / "a.tif", noise((3, 50, 60), "uint16"), "EPSG:32633", at(5e5, 5e6, 10))
    seen = []
    for options in (
        {},
        {"stretch": parse_stretch("minmax:0,101")},
        {"stretch": parse_stretch("percentile:2,98")},
        {"bands": (3, 2, 1)},
        {"gsd": 20.0},
    ):
        with open_raster(path, **{"stretch": parse_stretch("minmax:0,100"), **options}) as raster:
            assert raster.identity not in seen
            assert raster.identity == json.loads(json.dumps(raster.identity))
            seen.append(raster.identity)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    with open_raster(path, stretch=parse_stretch("minmax:0,100")) as raster:
        assert raster.identity == seen[0]
    write(path, noise((3, 50, 60), "uint16", seed=1), "EPSG:32633", at(5e5, 5e6, 10))
    with open_raster(path, stretch=parse_stretch("minmax:0,100")) as raster:
        assert raster.identity != seen[0]


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(ConfigError, match=r'pip install .*"\.\[geo\]"'):
        open_raster(tmp_path / "a.tif")


def test_colour_interpretation_is_followed(tmp_path):
    values = noise((4, 20, 30))
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [
            ColorInterp.blue,
            ColorInterp.green,
            ColorInterp.red,
            ColorInterp.undefined,
        ]
    assert np.array_equal(read(path)[0], values[2::-1].transpose(1, 2, 0))
