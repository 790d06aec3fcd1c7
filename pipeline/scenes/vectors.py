"""The objects of a scene as a GeoPackage, as GeoJSON, and in a table of all scenes."""

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.jobs.artifacts import read_json, write_atomic
from pipeline.package.found import FoundObject
from pipeline.scenes.measures import measure
from pipeline.scenes.outlines import Points, Shapes, draw
from pipeline.scenes.raster import Raster

LAYER, OUTLINES = "objects", ".geojson"
DEGREE_DECIMALS = 9  # 0.1 mm


def write_scene(
    out: Path, scene: Raster, objects: Sequence[FoundObject], classes: Sequence[str]
) -> list[str]:
    """Write `<name>.gpkg` and `<name>.geojson`, each whole or not at all; return the files' names.

    The GeoPackage has the layer `objects` in the scene's reference system, a row an object, with
    the columns of `measure`. The GeoJSON is that of RFC 7946, in longitude and latitude; its member
    `scene` is the scene's identity. A scene without coordinates has GeoJSON alone, in pixels, x to
    the right and y down.

    Raises:
        ArtifactError: The disk is full.
    """
    table = measure(scene.name, objects, scene.georeference, classes)
    outlines = [one.polygons for one in objects]
    georeference, files = scene.georeference, [f"{scene.name}{OUTLINES}"]
    if georeference is None:
        (shapes,) = draw(outlines, lambda xy_px: xy_px)
    else:

        def degrees(xy_px: Points) -> Points:
            return georeference.lonlat(georeference.locate(xy_px)).round(DEGREE_DECIMALS)

        mapped, shapes = draw(outlines, georeference.locate, degrees)
        shapes = _cut_at_180_degrees(shapes)
        files.append(f"{scene.name}.gpkg")
        write_atomic(out / files[-1], _geopackage(table, mapped, scene))
    write_atomic(out / files[0], _geojson(table, shapes, scene.identity))
    return files


def write_table(path: Path, out: Path, scenes: Sequence[str]) -> None:
    """Write the objects of all scenes as one CSV, from the GeoJSON that `write_scene` wrote.

    Raises:
        ArtifactError: One is missing or damaged, or the disk is full.
    """
    collections = [read_json(out / f"{name}{OUTLINES}") for name in scenes]
    rows = [one["properties"] for each in collections for one in each["features"]]
    columns = collections[0]["columns"] if collections else []
    write_atomic(path, pd.DataFrame(rows, columns=columns).to_csv(index=False).encode())


def _geopackage(table: pd.DataFrame, shapes: Shapes, scene: Raster) -> bytes:
    """Return a GeoPackage, which is the same bytes for the same scene."""
    import geopandas
    import pyogrio

    assert scene.georeference is not None
    frame = geopandas.GeoDataFrame(table, geometry=shapes, crs=scene.georeference.crs)
    written = io.BytesIO()
    # It says when it was changed: not before the scene was.
    seconds = max((file["mtime_ns"] for file in scene.identity["files"]), default=0) // 10**9
    date = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": date})
    try:
        pyogrio.write_dataframe(
            frame, written, driver="GPKG", layer=LAYER, geometry_type="MultiPolygon"
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    return written.getvalue()


def _geojson(table: pd.DataFrame, shapes: Shapes, identity: Mapping[str, Any]) -> bytes:
    from shapely.geometry import mapping

    known = table.astype(object).where(table.notna(), None).to_dict("records")
    features = [
        {"type": "Feature", "id": row["id"], "geometry": mapping(shape), "properties": row}
        for row, shape in zip(known, shapes, strict=True)
    ]
    collection = {
        "type": "FeatureCollection",
        "scene": identity,
        "columns": [*table],
        "features": features,
    }
    return (json.dumps(collection, allow_nan=False) + "\n").encode()


def _cut_at_180_degrees(shapes: Shapes) -> Shapes:
    """Cut what lies across the antimeridian in two, as RFC 7946 asks for (section 3.1.9)."""
    import shapely

    west, _, east, _ = shapely.bounds(shapes).T
    for n in np.flatnonzero(east - west > 180):
        whole = shapely.transform(shapes[n], lambda xy: xy + (xy[:, :1] < 0) * [360, 0])
        before, after = (
            shapely.intersection(whole, shapely.box(start, -90, start + 180, 90))
            for start in (0, 180)
        )
        after = shapely.transform(after, lambda xy: xy - [360, 0])
        parts = shapely.get_parts([before, after])
        # Where an edge lies on the line, the other side has that alone.
        shapes[n] = shapely.MultiPolygon([*parts[shapely.area(parts) > 0]])
    return shapes
