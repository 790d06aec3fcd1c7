#!/usr/bin/env bash
# scikit-image 0.26.0: watershed with a bool array of markers gives one object, not one each.
#
# One would guess that a mask of seeds is labelled first, or refused, since labels are numbers. The
# result takes the markers' dtype: every seed has the label True, and two ships become one.
#
# Seen: bool markers: dtype bool, 1 object; the same seeds labelled: dtype int32, 2 objects.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

mask = np.zeros((20, 40), bool)
mask[5:15, 2:18] = mask[5:15, 18:36] = True
seeds = np.zeros_like(mask)
seeds[10, 8] = seeds[10, 28] = True
distance = -ndimage.distance_transform_edt(mask)
merged = watershed(distance, seeds, mask=mask)
apart = watershed(distance, ndimage.label(seeds)[0], mask=mask)
counts = [len(np.unique(each[mask])) for each in (merged, apart)]
print("bool markers: dtype", merged.dtype, counts[0], "object; labelled:", apart.dtype, counts[1], "objects")
assert (merged.dtype, counts) == (np.dtype(bool), [1, 2])
PYTHON
