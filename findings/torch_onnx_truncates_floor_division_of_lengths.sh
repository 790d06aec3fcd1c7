#!/usr/bin/env bash
# torch 2.13.0: the exporter to ONNX rounds a floor division of lengths towards zero.
#
# One would guess that -(-n // 4) * 4, the usual way to write the next multiple of 4, exports as it is
# computed: a padded length. The graph has a Div of whole numbers, which ONNX truncates, so that it is
# the multiple below, and what was to be padded is cut. (n + 3) // 4 * 4 is never negative and right.
# Nothing warns, and the program of torch.export itself is right.
#
# Seen, of 13: -(-n // 4) * 4 is 12 in ONNX Runtime and 16 in torch; (n + 3) // 4 * 4 is 16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
import torch


class Padded(torch.nn.Module):
    def forward(self, x):
        padded = -(-x.shape[0] // 4) * 4  # the next multiple of 4
        return torch.arange(padded)


class PaddedOtherwise(torch.nn.Module):
    def forward(self, x):
        return torch.arange((x.shape[0] + 3) // 4 * 4)


seen = []
for network in (Padded(), PaddedOtherwise()):
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(network, (torch.zeros(9),), dynamic_shapes=shapes)
    assert len(program.module()(torch.zeros(13))) == 16
    exported = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["x"])
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    seen.append(len(session.run(None, {"x": np.zeros(13, np.float32)})[0]))
print("of 13:", *seen)
assert seen == [12, 16], seen
PYTHON
