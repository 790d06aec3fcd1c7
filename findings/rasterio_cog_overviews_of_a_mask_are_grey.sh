#!/usr/bin/env bash
# rasterio 1.4.4: a 'nearest' read of a mask at less resolution has grey values, if it is a COG.
#
# One would guess that Resampling.nearest picks stored values, 0 and 255. It picks those of the
# overviews, which the COG driver makes by cubic resampling unless it is told otherwise: a threshold
# at the edge then decides about values that were never written.
#
# Seen: GTiff 2 values, COG 122.
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
random = np.random.default_rng(0)
mask = np.kron(random.integers(0, 2, (128, 128)), np.ones((9, 9))).astype(np.uint8) * 255
counts = []
for driver in ("GTiff", "COG"):
    with rasterio.open(
        "mask.tif", "w", driver=driver, width=1152, height=1152, count=1, dtype="uint8"
    ) as file:
        file.write(mask, 1)
    with rasterio.open("mask.tif") as file:
        small = file.read(1, out_shape=(288, 288), resampling=Resampling.nearest)
    counts.append(len(np.unique(small)))
print("GTiff", counts[0], "values, COG", counts[1])
assert counts[0] == 2 and counts[1] > 50
PYTHON
