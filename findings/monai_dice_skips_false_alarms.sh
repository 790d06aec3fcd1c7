#!/usr/bin/env bash
# MONAI 1.6.1: DiceMetric and MeanIoU leave out images without a true object, so an object predicted in
# one costs nothing.
#
# One would guess 0 for a false alarm and 1 for a right empty answer, as segmentation competitions score
# them, or at least a mean over all images. By default what is averaged is images with objects alone:
# one right ship and three false alarms in empty sea have a Dice of 1. ignore_empty=False counts them.
#
# Seen: Dice 1.00, IoU 1.00; with ignore_empty=False 0.25 and 0.25.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 monai==1.6.1 numpy==2.3.5
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import torch
from monai.metrics import DiceMetric, MeanIoU

truth = torch.zeros(4, 1, 32, 32)
predicted = torch.zeros(4, 1, 32, 32)
truth[0, 0, 4:12, 4:12] = predicted[0, 0, 4:12, 4:12] = 1
predicted[1:, 0, 10:20, 10:20] = 1
found = []
for options in ({}, {"ignore_empty": False}):
    for kind in (DiceMetric, MeanIoU):
        metric = kind(**options)
        metric(predicted, truth)
        found.append(round(metric.aggregate().item(), 2))
print("by default", found[:2], ", with ignore_empty=False", found[2:])
assert found == [1.0, 1.0, 0.25, 0.25]
PYTHON
