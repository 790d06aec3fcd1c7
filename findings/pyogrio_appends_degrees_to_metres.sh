#!/usr/bin/env bash
# geopandas 1.2.0 with pyogrio 0.13.0: to_file(mode="a") ignores the coordinate system of what it adds.
#
# One would guess that the new rows are reprojected, or refused. Degrees are appended to a file in
# metres as they are, without a warning: the objects of the second tile lie beside the origin.
#
# Seen: a file in EPSG:32631, x of the first row 500000.0, of the appended one 3.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check geopandas==1.2.0 pyogrio==0.13.0 shapely==2.2.0 pandas==2.3.3
cd "$folder"
venv/bin/python - <<'PYTHON'
import geopandas as gpd
from shapely.geometry import Point

metres = gpd.GeoDataFrame({"n": [1]}, geometry=[Point(500000, 0)], crs=32631)
metres.to_file("objects.gpkg")
metres.assign(n=2).to_crs(4326).to_file("objects.gpkg", mode="a")
both = gpd.read_file("objects.gpkg")
xs = [round(point.x, 3) for point in both.geometry]
print("a file in", both.crs, ", x of the first row", xs[0], ", of the appended one", xs[1])
assert both.crs.to_epsg() == 32631 and xs == [500000.0, 3.0]
PYTHON
