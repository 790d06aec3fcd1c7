"""GDAL, imported late, with a small cache, and strict about damage."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ConfigError

CACHE_BYTES = 256 * 2**20  # rasterio takes bytes, GDAL itself MiB


@contextmanager
def gdal() -> Iterator[None]:
    """Read rasters inside: with a bounded cache, and damaged JPEG as an error.

    Raises:
        ConfigError: The extra `geo` is not installed.
    """
    try:
        import geopandas  # noqa: F401  is needed in the end, so its lack is said in the beginning
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
    except ImportError as error:
        raise ConfigError(
            f"rasters with coordinates need packages that are not installed ({error.name}). "
            'Install them with `pip install --constraint requirements.lock ".[geo]"`.'
        ) from None
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_ERROR_ON_LIBJPEG_WARNING=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
