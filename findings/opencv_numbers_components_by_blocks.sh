#!/usr/bin/env bash
# OpenCV 4.13.0 numbers 8-connected components by blocks of two rows, not in the order of rows.
#
# One would guess that the component whose first pixel comes first, row by row, is number 1, as with
# SciPy, and as OpenCV itself numbers 4-connected ones. A first pixel of the second row further left
# comes before one of the first row, so that tables of objects in the order of labels differ.
#
# Seen: pixels (0, 4) and (1, 0): 4-connected 1 2, 8-connected 2 1; SciPy 1 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.13.0.92 numpy==2.4.6 scipy==1.17.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
from scipy import ndimage

mask = np.zeros((4, 8), np.uint8)
mask[0, 4] = mask[1, 0] = 1
seen = {}
for connectivity in (4, 8):
    labels = cv2.connectedComponents(mask, connectivity=connectivity)[1]
    seen[connectivity] = (int(labels[0, 4]), int(labels[1, 0]))
labels = ndimage.label(mask, np.ones((3, 3)))[0]
scipy = (int(labels[0, 4]), int(labels[1, 0]))
print("4-connected", *seen[4], ", 8-connected", *seen[8], "; SciPy", *scipy)
assert (seen[4], seen[8], scipy) == ((1, 2), (2, 1), (1, 2))
PYTHON
