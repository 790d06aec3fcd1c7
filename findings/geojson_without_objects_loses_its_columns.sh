#!/usr/bin/env bash
# geopandas 1.2.0: a tile without objects, written as GeoJSON, comes back without its columns.
#
# One would guess an empty table with the same columns, as a GeoPackage gives. GeoJSON keeps columns in
# the features alone; code that reads score or class of every tile fails at the first empty one.
#
# Seen: columns of the GeoJSON ['geometry'], of the GeoPackage ['score', 'geometry'].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check geopandas==1.2.0 pyogrio==0.13.0 shapely==2.2.0 pandas==2.3.3
cd "$folder"
venv/bin/python - <<'PYTHON'
import geopandas as gpd

empty = gpd.GeoDataFrame({"score": []}, geometry=[], crs=32631)
found = []
for name in ("objects.geojson", "objects.gpkg"):
    empty.to_file(name)
    found.append(list(gpd.read_file(name).columns))
print("columns of the GeoJSON", found[0], ", of the GeoPackage", found[1])
assert found == [["geometry"], ["score", "geometry"]]
PYTHON
