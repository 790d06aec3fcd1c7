#!/usr/bin/env bash
# rasterio 1.4.4 marks the fourth of four 8-bit bands as opacity, and OpenCV multiplies by it.
#
# One would guess that red, green, blue and near infrared are written as four plain bands, and that
# IMREAD_UNCHANGED gives the stored numbers. GDAL takes the fourth for alpha where nothing else is
# said, and OpenCV 4.13.0 multiplies the colours by it while it reads the TIFF: water, dark in the
# infrared, turns black.
#
# Seen: colour interpretation red green blue alpha; a red of 200 beside an infrared of 10 is read as 8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6 opencv-python-headless==4.13.0.92
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings

import cv2
import numpy as np
import rasterio

warnings.simplefilter("ignore")
bands = np.empty((4, 16, 16), np.uint8)
bands[:3], bands[3] = 200, 10
with rasterio.open("four.tif", "w", driver="GTiff", width=16, height=16, count=4, dtype="uint8") as file:
    file.write(bands)
with rasterio.open("four.tif") as file:
    kinds = [kind.name for kind in file.colorinterp]
    assert (file.read(1) == 200).all()
red = int(cv2.imread("four.tif", cv2.IMREAD_UNCHANGED)[0, 0, 2])
print("colour interpretation", *kinds, "; a red of 200 beside an infrared of 10 is read as", red)
assert kinds[3] == "alpha" and red < 20
PYTHON
