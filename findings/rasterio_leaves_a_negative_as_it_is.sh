#!/usr/bin/env bash
# rasterio 1.4.4: a TIFF whose lowest value is white (MINISWHITE) is read as stored, Pillow 13.0.0 and
# OpenCV 4.13 turn it around.
#
# One would guess that readers of pictures agree what is bright. The same file is a positive for two of
# them and a negative for the third, so networks see ships darker than the sea; only the tag MINISWHITE
# in the namespace IMAGE_STRUCTURE tells.
#
# Seen, of the stored values 0, 1, 2: rasterio 0, 1, 2; Pillow and OpenCV 255, 254, 253.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    rasterio==1.4.4 pillow==13.0.0 opencv-python-headless==4.13.0.92 numpy==2.4.6
cd "$folder"
export OPENCV_LOG_LEVEL=ERROR
venv/bin/python -W ignore - <<'PYTHON'
import cv2
import numpy as np
import rasterio
from PIL import Image

values = np.arange(200, dtype=np.uint8)[None, None]
known = {"width": 200, "height": 1, "count": 1, "dtype": "uint8", "photometric": "MINISWHITE"}
with rasterio.open("negative.tif", "w", driver="GTiff", **known) as dataset:
    dataset.write(values)
with rasterio.open("negative.tif") as dataset:
    seen = {"rasterio": dataset.read(1)[0, :3].tolist()}
    assert dataset.tags(ns="IMAGE_STRUCTURE")["MINISWHITE"] == "YES"
seen["Pillow"] = np.asarray(Image.open("negative.tif"))[0, :3].tolist()
seen["OpenCV"] = cv2.imread("negative.tif", cv2.IMREAD_UNCHANGED)[0, :3].tolist()
print(seen)
turned = [255, 254, 253]
assert seen == {"rasterio": [0, 1, 2], "Pillow": turned, "OpenCV": turned}, seen
PYTHON
