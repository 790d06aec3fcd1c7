#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL's JP2OpenJPEG): neither QUALITY=100 nor REVERSIBLE=YES keeps the pixels of a scene.
# Only both together do.
#
# One would guess that quality 100, or the option that is called reversible, means lossless. Each alone
# changes pixels without a word; a mask of few objects may even come through REVERSIBLE=YES unchanged, so
# that a test on one does not show it.
#
# Seen: changed pixels of 65536 of noise: by default 64402, QUALITY=100 5684, REVERSIBLE=YES 64420, both 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.3.5
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import rasterio

image = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
changed = {}
for name, options in {
    "default": {},
    "QUALITY=100": {"QUALITY": 100},
    "REVERSIBLE=YES": {"REVERSIBLE": "YES"},
    "both": {"QUALITY": 100, "REVERSIBLE": "YES"},
}.items():
    with rasterio.open("image.jp2", "w", driver="JP2OpenJPEG", height=256, width=256, count=1, dtype="uint8", **options) as file:
        file.write(image, 1)
    with rasterio.open("image.jp2") as file:
        back = file.read(1)
    changed[name] = int((back != image).sum())
print("changed pixels of 65536:", changed)
assert changed["both"] == 0
assert all(changed[name] > 0 for name in ("default", "QUALITY=100", "REVERSIBLE=YES"))
PYTHON
