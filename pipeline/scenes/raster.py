"""A raster that GDAL reads -> the pixels of any box as networks see them, and where they lie.

What decides the pixels is fixed when the file is opened: bands, stretch and pixel size. Only
windows of the values are in memory.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.config.data import Data
from pipeline.data.images import ENDINGS
from pipeline.errors import DataError, about
from pipeline.inference.regions import Box
from pipeline.scenes.gdal import gdal
from pipeline.scenes.georeference import Georeference, of_raster
from pipeline.scenes.resampling import Values, resample, taps
from pipeline.scenes.source import READ_PX, Source
from pipeline.scenes.stretch import Stretch, find_limits, to_levels

LOG = logging.getLogger(__name__)
TIFF = (".tif", ".tiff")
GEO_TAGS = {33550, 33922, 34264, 34735}
"""Of TIFF: pixel scale, tie points, matrix, and the directory of GeoTIFF's keys."""
GEO_ELEMENTS = (b"<SRS", b"<GeoTransform", b"<GCPList")
"""Of the file that GDAL keeps beside a picture, with statistics and much else."""
MAX_SIDE_PX = 10**6
SAME_GSD = 0.01
"""Pixels that differ less are not resampled: a map's metres are not exactly those of the ground."""
MAX_DIFFERENT_GSD = 0.1
NOT_PIXELS = (".ovr", ".aux.xml")
"""Files beside a raster that do not decide its pixels, and that viewers write."""
PNG_END = b"IEND\xaeB`\x82"
"""Without it, GDAL 3.10 returns memory that it never filled."""
PLAIN = ("EHdr", "ENVI")
"""Formats of bare values, of which GDAL takes missing ones for 0."""


class Raster:
    """An open raster; `open_raster` opens it.

    Args:
        dataset: It, as rasterio opens it; is closed with this.
        path: Its file.
        name: Of the scene.
        bands: See `open_raster`.
        stretch: The same.
        gsd: The same.

    Attributes:
        name: Of the scene.
        height: Of the grid that is predicted, px.
        width: The same.
        georeference: Where the pixels of that grid lie; None: unknown.
        gsd_xy: Their width and height in metres at the scene's centre; None: unknown.
        identity: JSON values: all that decides the pixels.
    """

    def __init__(
        self,
        dataset: Any,  # noqa: ANN401  rasterio's, which need not be installed
        path: Path,
        name: str,
        *,
        bands: Sequence[int] | None,
        stretch: Stretch | None,
        gsd: float | None,
    ) -> None:
        self.name, self._path, self._dataset = name, path, dataset
        self._source = Source(path, dataset, bands)
        whole = of_raster(dataset)
        self._scale_xy, self.gsd_xy = _scale(whole, self._source.size, gsd)
        sides = np.rint(self._source.size / self._scale_xy).astype(int)
        self.width, self.height = np.maximum(sides, 1).tolist()
        self.georeference = whole and whole.scaled(self._scale_xy)
        count = len(self._source.bands)
        dtype = str(self._source.dtype)
        limits = find_limits(stretch, dtype, count, self._source.sample)
        self._limits = [pair[::-1] if self._source.inverted else pair for pair in limits]
        self.identity: dict[str, Any] = {
            "name": name,
            "files": [_file(Path(each)) for each in dataset.files if _decides_pixels(each)],
            "driver": dataset.driver,
            "size": [self.height, self.width],
            "values": dtype,
            "nodata": str(dataset.nodata),
            "crs": whole and whole.crs.to_wkt(),
            "transform": [*dataset.transform[:6]],
            "control_points": [[p.row, p.col, p.x, p.y] for p in dataset.gcps[0]],
            "bands": [*self._source.bands],
            "opacity": self._source.alpha,
            "stretch": str(stretch or "none"),
            "black_and_white": [[*limits] for limits in self._limits],
            "gsd": gsd,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def read(self, box: Box) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the pixels of a box within the grid, uint8 (h, w, 3), RGB, and which are valid.

        Whatever boxes are read, a pixel is the same; one that is not valid is black.

        Raises:
            DataError: The file is damaged there.
        """
        image_hwc = np.empty((*box.shape, 3), np.uint8)
        valid_hw = np.empty(box.shape, np.bool_)
        with about(str(self._path)):
            for part, values, part_valid_hw in self._parts(box):
                rows = part.within(box).slices[0]
                valid_hw[rows] = part_valid_hw
                for channel in range(3):
                    band = channel % len(self._limits)
                    levels_hw = to_levels(values[band], *self._limits[band])
                    image_hwc[rows, :, channel] = levels_hw * part_valid_hw
        return image_hwc, valid_hw

    def _parts(self, box: Box) -> Iterator[tuple[Box, Values, Values]]:
        """Yield a box from top to bottom in parts that fit in memory, their values and validity."""
        (scale_x, scale_y), (width, height) = self._scale_xy.tolist(), self._source.size
        across = taps(box.left, box.right, scale_x, width)
        rows = max(int(READ_PX / (across.after - across.first) / scale_y), 1)
        for top in range(box.top, box.bottom, rows):
            part = Box(top, box.left, min(top + rows, box.bottom), box.right)
            if scale_x == scale_y == 1:
                yield part, *self._source.read(part)
                continue
            down = taps(part.top, part.bottom, scale_y, height)
            source = Box(down.first, across.first, down.after, across.after)
            yield part, *resample(*self._source.read(source), down, across)


def open_raster(
    path: Path,
    *,
    bands: Sequence[int] | None = None,
    stretch: Stretch | None = None,
    gsd: float | None = None,
    name: str | None = None,
) -> Raster:
    """Open what GDAL reads.

    Args:
        path: Of the file.
        bands: Those that are red, green and blue, or one for grey, from 1 on; None: as the file
            says.
        stretch: How values become 0..255; None: 8 bits stay as they are.
        gsd: Resample to pixels of so many metres; None: as they are.
        name: Of the scene; None: the file's.

    Raises:
        ConfigError: The extra is not installed, or what is asked for does not fit the file.
        DataError: It is no raster, or one that needs to be told more.
    """
    with gdal():
        import rasterio

        try:
            dataset = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise DataError(
                f"{path}: expected a raster that GDAL reads, got none ({error}). Correct the path, "
                "or get the file again."
            ) from error
        try:
            with about(str(path)):
                _refuse_unreadable(dataset, path)
                raster = Raster(
                    dataset, path, name or path.name, bands=bands, stretch=stretch, gsd=gsd
                )
        except BaseException:
            dataset.close()
            raise
    if raster.georeference is None:
        LOG.warning("%s: no coordinates or no reference system: positions are pixels", path)
    return raster


def is_raster(path: Path) -> bool:
    """Tell a raster from a picture: it says where its pixels lie, or only GDAL reads it."""
    beside = path.with_name(f"{path.name}.aux.xml")
    if beside.is_file() and any(mark in beside.read_bytes() for mark in GEO_ELEMENTS):
        return True
    if path.suffix.lower() not in TIFF:
        return path.suffix.lower() not in ENDINGS
    try:
        with Image.open(path) as tiff:
            return bool(GEO_TAGS & {*getattr(tiff, "tag_v2", {})})
    except (OSError, ValueError, Image.DecompressionBombError):
        return True


def compare_gsd(raster: Raster, data: Data) -> None:
    """Warn where a raster's pixels are not as large as those that networks learned from.

    Args:
        raster: The raster.
        data: Of the run's configuration; `gsd` is what its networks learned from.
    """
    trained = data.gsd
    if trained is None or raster.gsd_xy is None:
        return
    if max(abs(own / trained - 1) for own in raster.gsd_xy) > MAX_DIFFERENT_GSD:
        LOG.warning(
            "%s: its pixels are %.4g x %.4g m, those of the training images %.4g m: objects have "
            "another size there. --gsd %g resamples it",
            *(raster.name, *raster.gsd_xy, trained, trained),
        )


def _scale(
    georeference: Georeference | None, size: tuple[int, int], gsd: float | None
) -> tuple[npt.NDArray[np.float64], tuple[float, float] | None]:
    """Return a new pixel's width and height in the file's own, and both in metres."""
    if georeference is None:
        if gsd is not None:
            raise DataError(
                f"--gsd {gsd:g}: expected coordinates and a reference system, which tell how large "
                "a pixel is, got none. Leave --gsd out, or assign them with gdal_edit."
            )
        return np.ones(2), None
    (jacobian,) = georeference.metres_per_px(np.array([size]) / 2)
    own_xy = np.hypot(*jacobian)
    across_m, down_m = own_xy.tolist()
    if not 0 < across_m * down_m < np.inf:
        raise DataError(
            f"expected coordinates on the earth, got pixels of {across_m:.4g} x {down_m:.4g} m at "
            "the scene's centre. Correct its matrix or reference system with gdal_edit."
        )
    if gsd is not None and not (gsd > 0 and (size * own_xy / gsd).max() <= MAX_SIDE_PX):
        raise DataError(
            f"--gsd {gsd:g}: expected metres a pixel of which a side has at most {MAX_SIDE_PX} px, "
            f"got a raster of {size[0]} x {size[1]} px of {across_m:.4g} x {down_m:.4g} m. Give "
            "a larger number."
        )
    if gsd is None or np.abs(gsd / own_xy - 1).max() <= SAME_GSD:
        return np.ones(2), (across_m, down_m)
    return gsd / own_xy, (gsd, gsd)


def _refuse_unreadable(dataset: Any, path: Path) -> None:  # noqa: ANN401  rasterio's
    """Refuse what GDAL opens but cannot read, or would read wrongly without a word."""
    values = dataset.width * dataset.height * sum(np.dtype(one).itemsize for one in dataset.dtypes)
    if (dataset.driver == "PNG" and not path.read_bytes().endswith(PNG_END)) or (
        dataset.driver in PLAIN and path.stat().st_size < values
    ):
        raise DataError("a file that is cut short. Get it again.")
    if dataset.count == 0:
        inner = "; ".join(dataset.subdatasets) or "none"
        raise DataError(
            f"expected a raster, got a file that only names others: {inner}. Make a "
            f"file of the one that you mean: gdal_translate -of VRT 'NAME' scene.vrt"
        )


def _decides_pixels(name: str) -> bool:
    """Tell it of a file that GDAL names for a raster, which may lie in an archive."""
    return Path(name).is_file() and not name.endswith(NOT_PIXELS)


def _file(path: Path) -> dict[str, Any]:
    """Return what tells a version of a file from another."""
    status = path.stat()
    return {"name": path.name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
