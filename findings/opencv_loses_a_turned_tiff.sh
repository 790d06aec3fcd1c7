#!/usr/bin/env bash
# OpenCV 4.13.0 reads no TIFF that is not square and has an orientation, whole as it is.
#
# One would guess that imread turns it, as it turns JPEGs, or gives the stored pixels. It returns None,
# its word for a damaged file, for the very pixels that it reads without the tag; Pillow reads both.
#
# Seen: without the tag (20, 40, 3), with orientation 6 None; square with orientation 6 (20, 20, 3).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.13.0.92 numpy==2.4.6 pillow==13.0.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image

seen = []
for width, tags in ((40, {}), (40, {274: 6}), (20, {274: 6})):
    Image.fromarray(np.zeros((20, width, 3), np.uint8)).save("picture.tif", tiffinfo=tags)
    with Image.open("picture.tif") as image:
        image.load()
    read = cv2.imread("picture.tif")
    seen.append(None if read is None else read.shape)
print("without the tag", seen[0], "with orientation 6", seen[1], "square with orientation 6", seen[2])
assert seen == [(20, 40, 3), None, (20, 20, 3)]
PYTHON
