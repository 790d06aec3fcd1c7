#!/usr/bin/env bash
# safetensors 0.8.0, numpy's side: a transposed array comes back with other values, silently.
#
# One would guess a copy, or the error that torch's side raises for tensors that are not contiguous.
# numpy's side writes the memory as it lies, under the shape of the view: kernels whose layout was
# changed to channels-last, or a transposed mask, are scrambled in the file.
#
# Seen: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 1], [2, 3], [4, 5]].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

array = np.arange(6).reshape(2, 3).T
back = load(save({"array": array}))["array"]
print("saved", array.tolist(), "loaded", back.tolist())
assert back.tolist() == [[0, 1], [2, 3], [4, 5]]
PYTHON
