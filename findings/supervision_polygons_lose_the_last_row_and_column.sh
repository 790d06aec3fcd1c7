#!/usr/bin/env bash
# supervision 0.31.0 writes COCO polygons through the centres of an object's border pixels, so that
# pycocotools 2.0.11 decodes a smaller object than the area that stands beside the polygon.
#
# One would guess that area, box and polygon of one annotation agree. The area counts pixels; polygon
# and box end a pixel earlier, as contours through pixels do. Its own reader fills the border, too, and
# gets all pixels back, so that a round trip within the library hides it; COCO's tools do not.
#
# Seen: 300 pixels, area 300, box 29 x 9; its own reader 300; pycocotools 261.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.0 \
    pycocotools==2.0.11 numpy==2.4.6 pillow==12.3.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
import supervision
from PIL import Image
from pycocotools import mask

Path("images").mkdir()
Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save("images/a.png")
drawn = np.zeros((1, 60, 80), bool)
drawn[0, 10:20, 10:40] = True
found = supervision.Detections(
    xyxy=np.array([[10, 10, 39, 19]]), mask=drawn, class_id=np.array([0])
)
dataset = supervision.DetectionDataset(
    classes=["ship"], images=["images/a.png"], annotations={"images/a.png": found}
)
dataset.as_coco(annotations_path="coco.json")
(one,) = json.loads(Path("coco.json").read_text())["annotations"]
_, _, width, height = one["bbox"]
back = supervision.DetectionDataset.from_coco("images", "coco.json", force_masks=True)
own = sum(int(detections.mask.sum()) for _, _, detections in back)
decoded = int(mask.area(mask.merge(mask.frPyObjects(one["segmentation"], 60, 80))))
print(
    f"{drawn.sum()} pixels, area {one['area']:.0f}, box {width} x {height}; "
    f"its own reader {own}; pycocotools {decoded}"
)
assert (drawn.sum(), one["area"], width, height, own) == (300, 300, 29, 9, 300)
assert decoded == 261
PYTHON
