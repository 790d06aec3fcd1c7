#!/usr/bin/env bash
# rasterio 1.4.4: Resampling.average leaves nodata=0 out of the mean, so that objects grow.
#
# One would guess that half a cell of object and half of background averages to half. With nodata=0,
# which is common in mask rasters, background is no value at all: the mean of what is left is the
# full value, and any threshold finds whole cells.
#
# Seen: without nodata 127 or 128, with nodata=0 255.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
import rasterio
from rasterio.enums import Resampling

warnings.simplefilter("ignore")
mask = np.zeros((8, 8), np.uint8)
mask[:, ::2] = 255
seen = []
for nodata in (None, 0):
    with rasterio.open(
        "mask.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", nodata=nodata
    ) as file:
        file.write(mask, 1)
    with rasterio.open("mask.tif") as file:
        seen.append(int(file.read(1, out_shape=(4, 4), resampling=Resampling.average)[0, 0]))
print("without nodata", seen[0], "with nodata=0", seen[1])
assert seen[0] in (127, 128) and seen[1] == 255
PYTHON
