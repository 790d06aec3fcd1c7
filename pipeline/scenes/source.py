"""The values in a raster file, window by window, and which of them are valid."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.inference.regions import Box
from pipeline.scenes.bands import choose_bands
from pipeline.scenes.gdal import gdal
from pipeline.scenes.resampling import Values

LOG = logging.getLogger(__name__)
READ_PX = 2**20
"""Pixels that are read at a time where all are."""
SAMPLE_PX = 1024
"""Of a scene's longer side, where the whole is looked at."""
MAX_TRANSLUCENT = 0.01
"""Of a true opacity's pixels, those that are neither opaque nor transparent: blurred edges."""


class Source:
    """The chosen bands of an open raster.

    Args:
        path: Of the file, for what is logged.
        dataset: It, as rasterio opens it.
        bands: For red, green and blue, or for grey; None: what the file says.

    Attributes:
        bands: Chosen.
        size: Width and height, px.
        dtype: Of the values.
        alpha: The band that says what is transparent; None: there is none.
        inverted: Whether low values are bright, as a TIFF may say.

    Raises:
        DataError: There are no such bands.
        DataError: The bands are not known, or their values are not real numbers.
    """

    def __init__(self, path: Path, dataset: Any, bands: Sequence[int] | None) -> None:  # noqa: ANN401
        self._path, self._dataset = path, dataset
        meanings = [meaning.name for meaning in dataset.colorinterp]
        self.bands = choose_bands(bands, meanings, dataset.descriptions)
        self.size: tuple[int, int] = dataset.width, dataset.height
        self.dtype = np.result_type(*(dataset.dtypes[band - 1] for band in self.bands))
        if self.dtype.kind == "c":
            raise DataError("expected real values, got complex ones. Write their magnitude first.")
        flags = {flag.name for flag in dataset.mask_flag_enums[self.bands[0] - 1]}
        self.inverted: bool = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        self._has_mask = not flags & {"alpha", "all_valid"}
        self.alpha = self._opacity(meanings)

    def read(self, box: Box) -> tuple[Values, Values]:
        """Return the values of a box, (bands, h, w), and which pixels are valid, bool (h, w).

        Invalid is a pixel that is nodata in all of the bands, masked or transparent, or that is not
        a finite number in one of them.

        Raises:
            DataError: The file is damaged there; the message does not name it.
        """
        values = self._read(box, list(self.bands))
        valid_hw: Any = np.ones(box.shape, np.bool_)
        if self._has_mask:
            valid_hw = self._read(box, list(self.bands), masks=True).any(0)
        if self.alpha is not None:
            valid_hw &= self._read(box, self.alpha) > 0
        if self.dtype.kind == "f":
            valid_hw &= np.isfinite(values).all(0)
            values[:, ~valid_hw] = 0
        return values, valid_hw

    def sample(self) -> Values:
        """Return valid values from the whole scene, (bands, n): every n-th row and column.

        Never from overviews, which are made otherwise in each file. Where no pixel of the sample is
        valid, all pixels are looked at.
        """
        for step in sorted({self._step, 1}, reverse=True):
            parts = []
            for box in self._rows(step):
                values, valid_hw = self.read(box)
                parts.append(values[..., ::step][:, valid_hw[:, ::step]])
            found = np.concatenate(parts, axis=1)
            if found.size:
                return found
        LOG.warning("%s: no pixel is valid: all are nodata, masked or transparent", self._path)
        return found

    def _opacity(self, meanings: list[str]) -> int | None:
        """Return the band that says what is transparent, if one does.

        GDAL marks the fourth band of an 8-bit file as opacity if nothing else is said, also where
        it is near infrared, which is 0 on water.
        """
        if "alpha" not in meanings or (alpha := meanings.index("alpha") + 1) in self.bands:
            return None
        step = self._step
        values = np.concatenate(
            [self._read(box, alpha)[:, ::step].ravel() for box in self._rows(step)]
        )
        share = np.mean((values > 0) & (values < values.max()))
        if share <= MAX_TRANSLUCENT:
            return alpha
        LOG.warning(
            "%s: band %d is marked as opacity, but %.0f %% of its pixels are neither transparent "
            "nor opaque: it is not used as such",
            *(self._path, alpha, 100 * share),
        )
        return None

    @property
    def _step(self) -> int:
        return math.ceil(max(self.size) / SAMPLE_PX)

    def _rows(self, step: int) -> Iterator[Box]:
        """Yield every `step`-th row of the scene; all rows several at a time."""
        width, height = self.size
        rows = max(READ_PX // width, 1) if step == 1 else 1
        for top in range(0, height, max(rows, step)):
            yield Box(top, 0, min(top + rows, height), width)

    def _read(self, box: Box, bands: int | list[int], *, masks: bool = False) -> Values:
        window = ((box.top, box.bottom), (box.left, box.right))
        with self._readable(box):
            if masks:
                valid: Values = self._dataset.read_masks(bands, window=window)
                return valid > 0
            dtype = self.dtype if isinstance(bands, list) else None
            values: Values = self._dataset.read(bands, window=window, out_dtype=dtype)
            return values

    @contextmanager
    def _readable(self, box: Box) -> Iterator[None]:
        """Say where a file cannot be read."""
        from rasterio.errors import RasterioIOError

        with gdal():
            try:
                yield
            except RasterioIOError as error:
                raise DataError(
                    f"rows {box.top} to {box.bottom - 1}, columns {box.left} to {box.right - 1} "
                    f"cannot be read ({error.__cause__ or error}). The file, or one that it names, "
                    "is cut short or damaged: get it again."
                ) from error
