#!/usr/bin/env bash
# datumaro 1.13.0 writes each object that is a mask as a crowd into COCO's JSON, a polygon as an object.
#
# One would guess that iscrowd follows an attribute of the object, or is 0. It follows the kind of its
# geometry: a single object drawn with a brush becomes iscrowd=1, which training pipelines leave out
# and COCO's evaluation ignores; beside it the same object as a polygon counts.
#
# Seen: mask: iscrowd 1; polygon: iscrowd 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
from pathlib import Path

import datumaro
import numpy as np
from datumaro.components.annotation import Mask, Polygon
from datumaro.components.media import Image

brushed = np.zeros((60, 80), bool)
brushed[10:20, 10:40] = True
objects = [
    Mask(brushed, label=0, id=1, group=1),
    Polygon([10, 30, 40, 30, 40, 40, 10, 40], label=0, id=2, group=2),
]
picture = Image.from_numpy(np.zeros((60, 80, 3), np.uint8))
item = datumaro.DatasetItem("a", subset="train", media=picture, annotations=objects)
dataset = datumaro.Dataset.from_iterable([item], categories=["ship"])
dataset.export("out", "coco_instances", save_media=False)
written = json.loads(Path("out/annotations/instances_train.json").read_text())["annotations"]
kinds = {("mask" if type(one["segmentation"]) is dict else "polygon"): one["iscrowd"] for one in written}
print("; ".join(f"{kind}: iscrowd {crowd}" for kind, crowd in sorted(kinds.items())))
assert kinds == {"mask": 1, "polygon": 0}
PYTHON
