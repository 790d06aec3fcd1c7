#!/usr/bin/env bash
# Pillow 13.0.0 turns a JPEG that has no EXIF at all, by the orientation in its XMP packet.
#
# One would guess that ImageOps.exif_transpose looks at EXIF, and that OpenCV's imread, which turns
# JPEGs too, shows the same picture. Pillow's getexif() falls back on tiff:Orientation in XMP, which
# editors write; OpenCV 4.13.0 reads EXIF alone. So width and height of one file differ between the
# two, and a mask drawn in one does not fit the picture of the other.
#
# Seen: stored (40, 20), Pillow's exif_transpose (20, 40), OpenCV (20, 40, 3) as height, width.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6 opencv-python-headless==4.13.0.92
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageOps

xmp = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><tiff:Orientation>6</tiff:Orientation>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save("picture.jpg", xmp=xmp)
assert b"Exif" not in open("picture.jpg", "rb").read()
with Image.open("picture.jpg") as image:
    stored, turned = image.size, ImageOps.exif_transpose(image).size
seen = cv2.imread("picture.jpg").shape
print("stored", stored, "Pillow's exif_transpose", turned, "OpenCV", seen)
assert (stored, turned, seen) == ((40, 20), (20, 40), (20, 40, 3))
PYTHON
