#!/usr/bin/env bash
# rasterio 1.4.4: features.shapes with connectivity=8 gives polygons that are not valid.
#
# One would guess a polygon for each part, in one MultiPolygon, since an edge may not touch itself. Two
# pixels that meet at a corner become one ring which passes that corner twice; GIS software refuses
# it or repairs it in ways of its own, and areas differ.
#
# Seen: connectivity 4 (2, True), connectivity 8 (1, False): number of polygons, and whether all are valid.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6 shapely==2.2.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
from rasterio.features import shapes
from shapely.geometry import shape
from shapely.validation import explain_validity

mask = np.zeros((6, 6), np.uint8)
mask[1, 1] = mask[2, 2] = 1
found = {}
for connectivity in (4, 8):
    each = [shape(s) for s, value in shapes(mask, connectivity=connectivity) if value == 1]
    found[connectivity] = (len(each), all(one.is_valid for one in each))
    print("connectivity", connectivity, found[connectivity], {explain_validity(one) for one in each})
assert found == {4: (2, True), 8: (1, False)}
PYTHON
