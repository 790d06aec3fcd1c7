"""What is written of a scene lies where it is, is as large as it is, and opens elsewhere."""

import csv
import json

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rasterio.crs import CRS
from rasterio.warp import transform as reproject
from rasters import GCPS, PLACES, at, control_points, objects_of, write

from pipeline.errors import ArtifactError, DataError
from pipeline.masks.outlines import polygons
from pipeline.scenes.measures import measure
from pipeline.scenes.outlines import draw
from pipeline.scenes.quicklook import write_quicklook
from pipeline.scenes.raster import open_raster
from pipeline.scenes.stretch import Stretch
from pipeline.scenes.vectors import write_scene, write_table

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
HEIGHT, WIDTH = 120, 150
# Left, top, right, bottom, px.
BOXES = [(10, 20, 40, 28), (90, 5, 95, 70), (140, 100, 150, 120)]
KINDS = [*PLACES, "gcps"]


def box_labels():
    labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
    for number, (left, top, right, bottom) in enumerate(BOXES, start=1):
        labels_hw[top:bottom, left:right] = number
    labels_hw[110, 145] = 0  # a hole
    return labels_hw


def scene_file(folder, kind):
    """A scene, its reference system, and the matrix that its pixels truly have."""
    values = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    crs, transform = GCPS if kind == "gcps" else PLACES[kind]
    place = {"transform": transform}
    if kind == "gcps":
        place = {"gcps": control_points(transform, HEIGHT, WIDTH)}
    return write(folder / "scene.tif", values, crs=crs, **place), crs, transform


def turned(length_m, width_m, heading_deg, jacobian, side_px=400):
    """A mask of a rectangle on the ground about the middle of an image."""
    y, x = np.indices((side_px, side_px)) + 0.5 - side_px / 2
    east_m, north_m = jacobian @ [x.ravel(), y.ravel()]
    sine, cosine = np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))
    along, across = east_m * sine + north_m * cosine, east_m * cosine - north_m * sine
    inside = (np.abs(along) < length_m / 2) & (np.abs(across) < width_m / 2)
    return inside.reshape(side_px, side_px).astype(np.int32)


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("heading_deg", [0.0, 35.0, 90.0, 140.0])
def test_rectangles_on_the_ground_have_their_size_and_heading(tmp_path, kind, heading_deg):
    crs, transform = PLACES[kind]
    path = write(tmp_path / "a.tif", np.zeros((1, 400, 400), np.uint8), crs, transform)
    with open_raster(path) as raster:
        px_m = max(raster.gsd_xy)
        # By another way than the code: the ground's east and north of the matrix's own columns.
        middle = np.array(transform @ (200, 200))
        steps = np.array([transform @ (201, 200), transform @ (200, 201)]) - middle
        jacobian = (east_north(crs, middle) @ steps.T).reshape(2, 2)
        length_m, width_m = 200 * px_m, 60 * px_m
        labels_hw = turned(length_m, width_m, heading_deg, jacobian)
        (row,) = measure("a", objects_of(labels_hw), raster.georeference, ["x"]).to_dict("records")
    assert row["length_m"] == pytest.approx(length_m, abs=2.5 * px_m)
    assert row["width_m"] == pytest.approx(width_m, abs=2.5 * px_m)
    assert row["area_m2"] == pytest.approx(length_m * width_m, rel=0.02)
    assert abs((row["heading_deg"] - heading_deg + 90) % 180 - 90) < 0.6
    assert (row["x"], row["y"]) == pytest.approx(tuple(middle), abs=abs(transform.a) + 1e-9)
    (lon,), (lat,) = reproject(CRS.from_string(crs), "EPSG:4326", [row["x"]], [row["y"]])
    assert (row["lon"], row["lat"]) == pytest.approx((lon, lat), abs=1e-8)


def east_north(crs, at_xy):
    """Metres to the east and north of a coordinate's unit, by the projection's own factors."""
    system = pyproj.CRS.from_user_input(crs)
    (lon,), (lat,) = reproject(CRS.from_string(crs), "EPSG:4326", [at_xy[0]], [at_xy[1]])
    equator_m, eccentricity2 = 6378137.0, 0.00669437999
    curved = 1 - eccentricity2 * np.sin(np.radians(lat)) ** 2
    degrees_m = np.radians(1) * np.array(
        [
            equator_m / np.sqrt(curved) * np.cos(np.radians(lat)),
            equator_m * (1 - eccentricity2) / curved**1.5,
        ]
    )
    if system.is_geographic:
        return np.diag(degrees_m)
    factors = pyproj.Proj(system).get_factors(lon, lat)
    per_degree = np.array([[factors.dx_dlam, factors.dx_dphi], [factors.dy_dlam, factors.dy_dphi]])
    metres = np.radians(1) * per_degree * equator_m
    return np.diag(degrees_m) @ np.linalg.inv(metres)


def test_a_picture_has_pixels_alone_and_heads_from_its_top():
    labels_hw = turned(200, 60, 30.0, np.array([[1.0, 0.0], [0.0, -1.0]]))
    (row,) = measure("a", objects_of(labels_hw), None, ["x"]).to_dict("records")
    assert row["length_px"] == pytest.approx(200, abs=2)
    assert row["heading_deg"] == pytest.approx(30, abs=0.5)
    assert (row["centre_x_px"], row["centre_y_px"]) == pytest.approx((200, 200), abs=0.5)
    assert all(np.isnan(row[name]) for name in ("area_m2", "length_m", "x", "lon", "confidence"))


@pytest.mark.parametrize("kind", KINDS)
def test_outlines_lie_where_the_objects_do(tmp_path, kind):
    path, crs, transform = scene_file(tmp_path, kind)
    with open_raster(path) as raster:
        write_scene(tmp_path, raster, objects_of(box_labels()), ["ship"])
    info = pyogrio.read_info(tmp_path / "scene.tif.gpkg", layer="objects")
    assert pyproj.CRS.from_user_input(info["crs"]).equals(
        pyproj.CRS.from_user_input(crs), ignore_axis_order=True
    )
    geopackage = pyogrio.read_dataframe(tmp_path / "scene.tif.gpkg")
    geojson = pyogrio.read_dataframe(tmp_path / "scene.tif.geojson")
    assert geojson.crs.to_epsg() == 4326
    to_px = ~transform
    lon_lat = shapely.get_coordinates(geojson.geometry.values)
    back = np.column_stack(reproject("EPSG:4326", CRS.from_string(crs), *lon_lat.T))
    degrees = shapely.set_coordinates(geojson.geometry.values.copy(), back)
    for shapes in (geopackage.geometry.values, degrees):
        assert shapely.is_valid(shapes).all()
        for shape, (left, top, right, bottom) in zip(shapes, BOXES, strict=True):
            in_px = shapely.transform(shape, lambda xy: np.array([to_px @ tuple(p) for p in xy]))
            expected = shapely.box(left, top, right, bottom)
            if left == 140:
                expected -= shapely.box(145, 110, 146, 111)
            assert shapely.hausdorff_distance(in_px, expected) < 0.1
    for shape in geojson.geometry.values:
        for part in shape.geoms:
            assert part.exterior.is_ccw
            assert not any(hole.is_ccw for hole in part.interiors)


def test_resampled_scenes_lie_where_they_did(tmp_path):
    path, _, transform = scene_file(tmp_path, "rotated")
    with open_raster(path, gsd=4) as raster:
        assert (raster.width, raster.height) == (75, 60)
        labels_hw = np.zeros((60, 75), np.int32)
        labels_hw[10:14, 5:20] = 1
        write_scene(tmp_path, raster, objects_of(labels_hw), ["ship"])
    (shape,) = pyogrio.read_dataframe(tmp_path / "scene.tif.gpkg").geometry.values
    to_px = ~transform
    in_px = shapely.transform(shape, lambda xy: np.array([to_px @ tuple(p) for p in xy]))
    assert shapely.hausdorff_distance(in_px, shapely.box(10, 20, 40, 28)) < 0.1


def test_columns_and_classes(tmp_path):
    path, *_ = scene_file(tmp_path, "utm north")
    found = objects_of(box_labels(), confidence=0.75)
    with open_raster(path, bands=(1, 1, 1)) as raster:
        write_scene(tmp_path, raster, found, ["ship", "boat"])
        write_scene(tmp_path / "again", raster, found, ["ship", "boat"])
        write_scene(tmp_path / "none", raster, [], ["ship", "boat"])
    names = ["scene.tif.gpkg", "scene.tif.geojson"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    full, empty = (pyogrio.read_dataframe(tmp_path / part / names[0]) for part in ("", "none"))
    kinds = [pyogrio.read_info(tmp_path / part / names[0])["ogr_types"] for part in ("", "none")]
    assert kinds[0] == kinds[1]
    assert [*full] == [*empty]
    assert [*full][:4] == ["scene", "id", "class", "confidence"]

    assert len(empty) == 0
    assert full.confidence.tolist() == [0.75] * 3
    collection = json.loads((tmp_path / names[1]).read_text())
    assert "crs" not in collection
    assert collection["scene"]["bands"] == [1, 1, 1]
    write_table(tmp_path / "objects.csv", tmp_path, ["scene.tif"])
    write_table(tmp_path / "none.csv", tmp_path / "none", ["scene.tif"])
    with (tmp_path / "objects.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == [*full.columns[:-1]]
    assert [float(row["x"]) for row in rows] == full.x.tolist()
    assert (tmp_path / "none.csv").read_text().strip() == ",".join(rows[0])
    with pytest.raises(ArtifactError, match="missing"):
        write_table(tmp_path / "objects.csv", tmp_path, ["scene.tif", "other.tif"])


def test_a_scene_without_coordinates_has_pixels(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, HEIGHT, WIDTH), np.uint8))
    with open_raster(path) as raster:
        files = write_scene(tmp_path, raster, objects_of(box_labels()), ["ship"])
        files += write_quicklook(tmp_path, raster, [])
    assert files == ["a.tif.geojson", "a.tif.overlay.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", *files}
    features = json.loads((tmp_path / "a.tif.geojson").read_text())["features"]
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert [shape.bounds for shape in shapes] == BOXES
    assert features[0]["properties"]["lon"] is None


def test_objects_across_180_degrees_are_cut(tmp_path):
    transform = at(179.999, 10.0, 2e-5)
    path = write(tmp_path / "a.tif", np.zeros((1, HEIGHT, WIDTH), np.uint8), "EPSG:4326", transform)
    labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
    labels_hw[10:20, 40:70] = 1
    labels_hw[30:40, 100:120] = 2
    with open_raster(path) as raster:
        write_scene(tmp_path, raster, objects_of(labels_hw), ["ship"])
    shapes = pyogrio.read_dataframe(tmp_path / "a.tif.geojson").geometry.values
    assert shapely.is_valid(shapes).all()
    assert [len(shape.geoms) for shape in shapes] == [2, 1]
    assert shapely.area(shapes) == pytest.approx([300 * 4e-10, 200 * 4e-10], rel=1e-6)
    assert all(part.bounds[2] - part.bounds[0] < 1 for shape in shapes for part in shape.geoms)


def test_an_edge_that_lies_on_180_degrees_cuts_nothing(tmp_path):
    transform = at(180 - 40 / 1024, 10.0, 1 / 1024)
    path = write(tmp_path / "a.tif", np.zeros((1, HEIGHT, WIDTH), np.uint8), "EPSG:4326", transform)
    labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
    labels_hw[10:20, 40:60] = 1
    with open_raster(path) as raster:
        write_scene(tmp_path, raster, objects_of(labels_hw), ["ship"])
    (shape,) = pyogrio.read_dataframe(tmp_path / "a.tif.geojson").geometry
    assert shape.bounds == pytest.approx((-180, 10 - 20 / 1024, -180 + 20 / 1024, 10 - 10 / 1024))


def test_an_object_that_is_nowhere_on_earth_is_refused(tmp_path):
    disc = at(-7_000_000, 7_000_000, 14_000_000 / WIDTH)
    values = np.zeros((1, WIDTH, WIDTH), np.uint8)
    path = write(tmp_path / "a.tif", values, "+proj=ortho +lat_0=10", disc)
    labels_hw = np.zeros((WIDTH, WIDTH), np.int32)
    labels_hw[:3, :3] = 1
    with open_raster(path) as raster, pytest.raises(DataError, match="Mark those pixels as nodata"):
        write_scene(tmp_path, raster, objects_of(labels_hw), ["ship"])


maps = arrays.arrays(
    np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 3)
)


@given(maps, st.sampled_from([1, 5]))
@settings(max_examples=150, deadline=None)
def test_outlines_are_valid_and_half_a_pixel_off_at_most(labels_hw, times):
    labels_hw = labels_hw.repeat(times, 0)
    numbers = np.unique(labels_hw[labels_hw > 0])
    labels_hw = np.searchsorted([0, *numbers], labels_hw).astype(np.int32)
    outlines = polygons(labels_hw)
    (drawn,) = draw(outlines, lambda xy_px: xy_px)
    assert len(drawn) == labels_hw.max(initial=0)
    assert shapely.is_valid(drawn).all()
    for shape, parts in zip(drawn, outlines, strict=True):
        assert len(shape.geoms) == len(parts)
        exact = shapely.MultiPolygon([(rings[0], rings[1:]) for rings in parts])
        lost = shapely.Polygon(parts[0][0]).area * 0.05 + 1e-9
        assert abs(shape.geoms[0].area - exact.geoms[0].area) <= lost * len(parts[0])
        assert shapely.hausdorff_distance(shape.boundary, exact.boundary, densify=0.1) <= 0.5 + 1e-9


def test_slanting_borders_lose_their_staircase():
    labels_hw = turned(150, 40, 25.0, np.array([[1.0, 0.0], [0.0, -1.0]]), 300)
    ((shape,),) = draw(polygons(labels_hw), lambda xy_px: xy_px)
    (exact,) = polygons(labels_hw)
    assert shapely.get_num_coordinates(shape) < len(exact[0][0]) / 3
    assert shape.area == pytest.approx(labels_hw.sum(), rel=0.01)


@pytest.mark.parametrize("kind", ["rotated", "gcps"])
def test_the_quicklook_is_small_and_lies_where_the_scene_does(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("pipeline.scenes.quicklook.MAX_SIDE_PX", 50)
    monkeypatch.setattr("pipeline.scenes.quicklook.READ_PX", 1000)
    _, crs, transform = scene_file(tmp_path, kind)
    values = np.full((1, HEIGHT, WIDTH), 100, np.uint16)
    values[:, 60:63, 30:33] = 200
    place = {"transform": transform}
    if kind == "gcps":
        place = {"gcps": control_points(transform, HEIGHT, WIDTH)}
    path = write(tmp_path / "scene.tif", values, crs=crs, **place)
    with open_raster(path, stretch=Stretch("minmax", (0, 255))) as raster:
        write_quicklook(tmp_path, raster, objects_of(box_labels()))
    with rasterio.open(tmp_path / "scene.tif.overlay.png") as dataset:
        assert (dataset.width, dataset.height) == (50, 40)
        image = dataset.read()
        assert dataset.transform.is_identity == (kind == "gcps")
        if kind == "rotated":
            assert dataset.transform.almost_equals(transform @ type(transform).scale(3), 1e-6)
    assert (image[:, 20, 10] == 200).all()
    assert (image[:, 30, 30] == 100).all()
    # The first object's outline, from (10, 20) to (40, 28), in its colour.
    assert image[:, 6, 8].tolist() != [100] * 3
    assert (image != 100).any(0)[6:10, 3:13].sum() > 20
