"""Rasters for tests, and objects in them."""

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine

from pipeline.masks.outlines import polygons
from pipeline.package.found import FoundObject, smallest_rectangle

CUSTOM = (
    'PROJCS["own",GEOGCS["own",DATUM["own",SPHEROID["GRS 80",6378137,298.257222101]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Azimuthal_Equal_Area"],PARAMETER["latitude_of_center",47.3],'
    'PARAMETER["longitude_of_center",9.7],PARAMETER["false_easting",1000],'
    'PARAMETER["false_northing",2000],UNIT["metre",1]]'
)


def at(x, y, px, degrees=0, tall=1):
    """A matrix: the first pixel's corner, the pixel's size, turned anticlockwise."""
    return Affine.translation(x, y) @ Affine.rotation(degrees) @ Affine.scale(px, -px * tall)


# Reference system, matrix: in all of them a pixel is about as large on the ground as it says.
PLACES = {
    "utm north": ("EPSG:32633", at(500_000, 6_000_000, 10)),
    "utm south": ("EPSG:32756", at(334_000, 6_252_000, 1.5)),
    "degrees": ("EPSG:4326", at(24.9, 60.2, 2e-5, tall=0.5)),
    "rotated": ("EPSG:32633", at(400_000, 5_500_000, 2, degrees=30)),
    "custom": (CUSTOM, at(-3_000, 8_000, 0.5)),
}
# A matrix, and the same as control points at a few pixels.
GCPS = ("EPSG:32633", at(500_000, 6_000_000, 10, degrees=-20))


def write(path, values, crs=None, transform=None, gcps=(), **profile):
    """Write values, (bands, h, w)."""
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype, **profile}
    size = {"count": count, "height": height, "width": width}
    place = {} if transform is None else {"crs": crs, "transform": transform}
    with rasterio.open(path, "w", **size, **place, **profile) as dataset:
        dataset.write(values)
        if gcps:
            dataset.gcps = gcps, CRS.from_string(crs)
    return path


def control_points(transform, height, width):
    return [
        GroundControlPoint(row, column, *(transform @ (column, row)))
        for row in (0, height / 2, height)
        for column in (0, width / 3, width)
    ]


def objects_of(labels_hw, confidence=None):
    """What a model finds: the objects of a label map."""
    return [
        FoundObject(
            class_id="object",
            rle="",
            box_xyxy=(0, 0, 0, 0),
            polygons=parts,
            mean_probability=0.5,
            max_probability=0.7,
            confidence=confidence,
            area_px=int((labels_hw == number).sum()),
            rectangle=smallest_rectangle(np.concatenate([rings[0] for rings in parts])),
        )
        for number, parts in enumerate(polygons(labels_hw), start=1)
    ]
