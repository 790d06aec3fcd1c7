#!/usr/bin/env bash
# OpenCV 4.13.0: the angle of minAreaRect lies in [-90, 0), where 4.12.0 gave (0, 90], and the sides of the
# same rectangle change places.
#
# One would guess that a minor version keeps what a stored angle, width and height mean. Whoever writes
# them as (x, y, w, h, angle), or takes w for the length of a ship, gets other boxes after the upgrade;
# boxPoints gives the same corners in both.
#
# Seen: 4.12.0 (100.0, 20.0) turned 30.0, 4.13.0 (20.0, 100.0) turned -60.0, corners the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/box.py" <<'PYTHON'
import cv2
import numpy as np

corners = cv2.boxPoints(((100, 100), (100, 20), 30))
box = cv2.minAreaRect(corners)
size = tuple(round(side, 0) for side in box[1])
again = {tuple(point) for point in cv2.boxPoints(box).round(1).tolist()}
same = again == {tuple(point) for point in corners.round(1).tolist()}
print(size, "turned", round(box[2], 0), "corners the same" if same else "other corners")
PYTHON
for version in 4.12.0.88 4.13.0.92; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$version"
    "$folder/$version/bin/python" "$folder/box.py" | tee "$folder/$version.txt"
done
[[ $(<"$folder/4.12.0.88.txt") == "(100.0, 20.0) turned 30.0 corners the same" ]]
[[ $(<"$folder/4.13.0.92.txt") == "(20.0, 100.0) turned -60.0 corners the same" ]]
