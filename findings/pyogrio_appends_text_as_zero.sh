#!/usr/bin/env bash
# geopandas 1.2.0 with pyogrio 0.13.0: text that is appended to a column of whole numbers becomes 0.
#
# One would guess an error: the types differ. Identifiers such as 'a17' of a second tile are stored as
# 0, without a warning, and all its objects share one identifier.
#
# Seen: ids 1 and a17 are read as [1, 0].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check geopandas==1.2.0 pyogrio==0.13.0 shapely==2.2.0 pandas==2.3.3
cd "$folder"
venv/bin/python - <<'PYTHON'
import geopandas as gpd
from shapely.geometry import Point

one = gpd.GeoDataFrame({"id": [1]}, geometry=[Point(0, 0)], crs=32631)
one.to_file("objects.gpkg")
one.assign(id="a17").to_file("objects.gpkg", mode="a")
ids = gpd.read_file("objects.gpkg").id.tolist()
print("ids 1 and a17 are read as", ids)
assert ids == [1, 0]
PYTHON
