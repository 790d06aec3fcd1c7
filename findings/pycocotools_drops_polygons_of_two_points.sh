#!/usr/bin/env bash
# pycocotools 2.0.11 takes a polygon of two points, and gives it no area.
#
# One would guess an error, or a line of pixels: annotation tools write such polygons for objects one
# pixel wide. The call succeeds, the RLE is empty, and an annotated object is gone from any score.
#
# Seen: polygon of four points around six pixels: area 6; of two points, as long: area 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from pycocotools import mask

box = [2.0, 3.0, 8.0, 3.0, 8.0, 4.0, 2.0, 4.0]
line = [2.0, 6.0, 8.0, 6.0]
areas = [int(mask.area(rle)) for rle in mask.frPyObjects([box, line], 12, 12)]
print("polygon of four points: area", areas[0], "; of two points, as long: area", areas[1])
assert areas == [6, 0]
PYTHON
