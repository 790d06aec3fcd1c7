"""Rasters with coordinates: read by window as networks see them, and objects written as maps.

`raster` opens anything that GDAL reads, and `source` reads its values; `bands` and `stretch` say
which of them become red, green and blue of 8 bits, `resampling` at which pixel size. `georeference`
says where pixels lie. `measures` gives lengths, areas and headings, `outlines` simplifies,
`vectors` writes GeoPackage, GeoJSON and a table, `quicklook` a small picture. GDAL and PROJ are an
extra, imported when a raster is opened.
"""
