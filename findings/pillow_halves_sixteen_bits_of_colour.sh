#!/usr/bin/env bash
# Pillow 13.0.0 opens a PNG of 16 bits a channel as plain 8-bit RGB, and keeps the high byte.
#
# One would guess that it refuses, scales, or names a mode of 16 bits, as it does for grey pictures
# (I;16). It says RGB and drops the low byte without a word. Sensors give 10 to 12 bits, so that a
# satellite's or a microscope's picture becomes nearly black: values of 0..1023 become 0..3.
#
# Seen: grey mode I;16; colour mode RGB, largest value 3 of 1023.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6 opencv-python-headless==4.13.0.92
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image

values = np.linspace(0, 1023, 3 * 64 * 64).astype(np.uint16)
cv2.imwrite("colour.png", values.reshape(64, 64, 3))
cv2.imwrite("grey.png", values[: 64 * 64].reshape(64, 64))
with Image.open("grey.png") as grey, Image.open("colour.png") as colour:
    largest = int(np.asarray(colour).max())
    print("grey mode", grey.mode + "; colour mode", colour.mode + ", largest value", largest, "of 1023")
    assert (grey.mode, colour.mode, largest) == ("I;16", "RGB", 3)
PYTHON
