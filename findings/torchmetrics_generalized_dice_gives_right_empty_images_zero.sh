#!/usr/bin/env bash
# torchmetrics 1.9.0: GeneralizedDiceScore scores an image 0 where truth and prediction are both empty;
# DiceScore and MeanIoU beside it leave such images out.
#
# One would guess that a perfect prediction scores 1. On a set with half of its images empty the highest
# value that can be reached is 0.5.
#
# Seen, of a perfect prediction of one image with an object and one without: generalized Dice 0.5, Dice
# 1.0, mean IoU 1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy==2.3.5
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import torch
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

truth = torch.zeros(2, 1, 32, 32, dtype=torch.long)
truth[0, 0, 4:12, 4:12] = 1
found = {
    kind.__name__: kind(num_classes=1)(truth, truth).item()
    for kind in (GeneralizedDiceScore, DiceScore, MeanIoU)
}
print(found)
assert found == {"GeneralizedDiceScore": 0.5, "DiceScore": 1.0, "MeanIoU": 1.0}
PYTHON
