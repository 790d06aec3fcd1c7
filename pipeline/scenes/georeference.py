"""Where the pixels of a raster lie on the ground.

Pixels are counted x to the right and y down from the outer corner of the first one; coordinates of
the ground are x (east, or longitude) before y, whatever order a reference system names them in.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

Points = npt.NDArray[np.float64]
"""(n, 2) of x and y."""
WGS84 = "OGC:CRS84"  # longitude before latitude


class Georeference:
    """Pixels -> coordinates of the ground.

    Args:
        crs: The reference system, pyproj's.
        to_crs: Returns the coordinates in it of pixels, (n, 2) of both.
        affine: The matrix (2, 3) of `to_crs` where it is one, of any rotation; None otherwise.

    Attributes:
        crs: The same.
        affine: The same.

    Raises:
        ProjError: The reference system has no known relation to longitude and latitude.
    """

    def __init__(
        self,
        crs: Any,  # noqa: ANN401  pyproj's, which need not be installed
        to_crs: Callable[[Points], Points],
        affine: npt.NDArray[np.float64] | None,
    ) -> None:
        import pyproj

        self.crs, self.affine, self._to_crs = crs, affine, to_crs
        self._to_wgs84 = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
        self._ellipsoid = pyproj.Geod(ellps="WGS84")

    def locate(self, xy_px: Points) -> Points:
        """Return the coordinates of pixels in the reference system, (n, 2)."""
        return self._to_crs(np.asarray(xy_px, np.float64))

    def lonlat(self, xy: Points) -> Points:
        """Return longitude and latitude (WGS 84, degrees) of coordinates, (n, 2).

        Raises:
            DataError: They are beyond what the reference system maps.
        """
        lon, lat = self._to_wgs84.transform(*xy.T)
        if not np.isfinite([lon, lat]).all():
            raise DataError(
                "an object lies where the reference system has no ground, as in the corners of a "
                "picture of the whole disc. Mark those pixels as nodata."
            )
        return np.column_stack([np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon), lat])

    def metres_per_px(self, xy_px: Points) -> npt.NDArray[np.float64]:
        """Return how the ground changes with the pixel, (n, 2, 2).

        Rows are metres to the east and to the north on the ellipsoid, columns a pixel's step along
        x and along y, all at the given pixels.
        """
        xy_px = np.asarray(xy_px, np.float64)
        jacobian = np.empty((len(xy_px), 2, 2))
        for axis, half_step in enumerate(np.eye(2) / 2):
            before, after = (self.lonlat(self.locate(xy_px + sign * half_step)) for sign in (-1, 1))
            azimuth_deg, _, length_m = self._ellipsoid.inv(*before.T, *after.T)
            azimuth = np.radians(azimuth_deg)
            jacobian[:, 0, axis] = np.sin(azimuth) * length_m
            jacobian[:, 1, axis] = np.cos(azimuth) * length_m
        return jacobian

    def scaled(self, scale_xy: Points) -> "Georeference":
        """Return the same for pixels that are `scale_xy` as large."""
        affine = None if self.affine is None else self.affine * [*scale_xy, 1]
        return Georeference(self.crs, lambda xy_px: self.locate(xy_px * scale_xy), affine)


def of_raster(dataset: Any) -> Georeference | None:  # noqa: ANN401  rasterio's
    """Return where a raster's pixels lie, None where it does not say.

    Ground control points, where there is no matrix, are joined by a thin plate spline.

    Raises:
        DataError: Only a sensor's model says it (RPC), there are too few control points, or the
            reference system relates to no other. The message does not name the file.
    """
    import pyproj

    control_points, crs = dataset.gcps
    has_matrix = not dataset.transform.is_identity
    if has_matrix or not control_points:
        crs = dataset.crs
    if not crs or not (has_matrix or control_points):
        if dataset.rpcs is not None:
            raise DataError(
                "expected coordinates of the pixels, got a sensor's model alone (RPC). Lay it on "
                "the ground first: gdalwarp -rpc -t_srs EPSG:4326 IN.tif OUT.tif"
            )
        return None
    try:
        system = pyproj.CRS.from_wkt(crs.to_wkt()).to_2d()
        if not has_matrix:
            return Georeference(system, _spline(control_points), None)
        affine = np.reshape(dataset.transform[:6], (2, 3))
        return Georeference(system, lambda xy: xy @ affine[:, :2].T + affine[:, 2], affine)
    except pyproj.exceptions.ProjError as error:
        raise DataError(
            f"its reference system has no known relation to longitude and latitude ({error}). "
            "Assign the true one, or none: gdal_edit -a_srs EPSG:32633 FILE"
        ) from error


def _spline(control_points: Any) -> Callable[[Points], Points]:  # noqa: ANN401  rasterio's
    from rasterio.transform import GCPTransformer

    if np.linalg.matrix_rank([[1, point.row, point.col] for point in control_points]) < 3:
        raise DataError(
            f"expected three ground control points that are not on a line, or more, got "
            f"{len(control_points)}. Remove them (gdal_edit -unsetgcp FILE), or add some."
        )
    transformer = GCPTransformer(control_points, tps=True)

    def to_crs(xy_px: Points) -> Points:
        x_px, y_px = xy_px.T
        return np.column_stack(transformer.xy(y_px, x_px, offset="ul"))

    return to_crs
