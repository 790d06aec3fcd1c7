"""How large objects are, where they are, and where they point to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.package.found import FoundObject, smallest_rectangle
from pipeline.scenes.georeference import Georeference

DECIMALS = {
    "confidence": 4, "mean_probability": 4,
    "length_px": 2, "width_px": 2, "centre_x_px": 2, "centre_y_px": 2,
    "heading_deg": 2,
    "area_m2": 4, "length_m": 3, "width_m": 3,
    "x": 9, "y": 9, "lon": 9, "lat": 9,
}  # fmt: skip
"""Of the columns that are rounded."""
UP = np.array([[1.0, 0.0], [0.0, -1.0]])
"""Stands for metres a pixel where they are unknown: a picture's top for the north."""


def measure(
    scene: str,
    objects: Sequence[FoundObject],
    georeference: Georeference | None,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return what is known of each object, a row each.

    Columns: `scene`; `id`, from 1 on; `class`, where there are several; `confidence`, 0..1 or NaN;
    `mean_probability`; `area_px`; `length_px` and `width_px` of the smallest rectangle in the
    image, `centre_x_px` and `centre_y_px`, its centre; `heading_deg`, in which direction the longer
    side of the smallest rectangle on the ground points, clockwise from true north, in [0, 180);
    `area_m2`, `length_m`, `width_m` of that rectangle; `x` and `y`, the centre in the scene's
    reference system, `lon` and `lat` in WGS 84. Without a georeference heading is from the
    picture's top, and what follows it is NaN.
    """
    centre_px = np.array([one.rectangle.centre_xy for one in objects]).reshape(-1, 2)
    ground = np.full((len(objects), 3), np.nan)
    places = np.full((len(objects), 4), np.nan)
    jacobian = np.broadcast_to(UP, (len(objects), 2, 2))
    if georeference is not None and objects:
        jacobian = georeference.metres_per_px(centre_px)
        xy = georeference.locate(centre_px)
        places = np.hstack([xy, georeference.lonlat(xy)])
        ground[:, 0] = [one.area_px for one in objects] * np.abs(np.linalg.det(jacobian))
    heading_deg = np.zeros(len(objects))
    for n, (one, centre, metres) in enumerate(zip(objects, centre_px, jacobian, strict=True)):
        corners = np.concatenate([rings[0] for rings in one.polygons]) - centre
        east_south = corners @ metres.T * [1, -1]
        _, length_m, width_m, from_east_deg = smallest_rectangle(east_south)
        heading_deg[n] = from_east_deg + 90
        if georeference is not None:
            ground[n, 1:] = length_m, width_m
    columns = {
        "scene": pd.Series([scene] * len(objects), dtype=str),
        "id": np.arange(1, len(objects) + 1),
        "class": pd.Series([one.class_id for one in objects], dtype=str),
        "confidence": np.array([one.confidence for one in objects], float),
        "mean_probability": np.array([one.mean_probability for one in objects], float),
        "area_px": np.array([one.area_px for one in objects], np.int64),
        "length_px": np.array([one.rectangle.length_px for one in objects], float),
        "width_px": np.array([one.rectangle.width_px for one in objects], float),
        "centre_x_px": centre_px[:, 0],
        "centre_y_px": centre_px[:, 1],
        "heading_deg": heading_deg,
        **dict(zip(("area_m2", "length_m", "width_m"), ground.T, strict=True)),
        **dict(zip(("x", "y", "lon", "lat"), places.T, strict=True)),
    }
    if len(classes) == 1:
        del columns["class"]
    table = pd.DataFrame(columns)
    table["heading_deg"] = table["heading_deg"].round(DECIMALS["heading_deg"]) % 180
    in_degrees = georeference is not None and georeference.crs.is_geographic
    return table.round(DECIMALS if in_degrees else DECIMALS | {"x": 4, "y": 4})
