"""Every competition from nothing to a submission, graded by a reading of its own.

The graders here know nothing of the pipeline: they read the two files as the organiser's pages say,
draw every mask and count pixels.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.load import load_config
from pipeline.jobs.run import Run
from tests.all_stages import run_stages

ROOT = Path(__file__).parents[1]
THRESHOLDS = np.arange(10, 20) / 20
TINY = [
    *("data.demo.train_tiles=4", "data.demo.test_tiles=3", "crops.size_px=64"),
    *("crops.batch_size=4", "crops.per_epoch=8", "train.epochs=1", "train.validation_images=1"),
    *("finetune.validation_images=1", "predict.tta=none", "machine.threads=1"),
]
SHAPES = {
    "tgs_salt": (101, 101),
    "severstal": (256, 1600),
    "clouds": (350, 525),
    "siim_acr": (1024, 1024),
    "contrails": (256, 256),
    "sartorius": (520, 704),
    "masks": (256, 256),
}


def masks_of(path, name):
    """The masks of each key in a file, in the order of its rows."""
    height, width = SHAPES[name]
    found = defaultdict(list)
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    for key, text, *_ in rows:
        numbers = [int(number) for number in text.split()] if text not in ("", "-", "-1") else []
        flat, at = np.zeros(height * width, bool), 0
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            at = at + start if name == "siim_acr" else start - 1
            flat[at : at + length] = True
            at += length
        mask_hw = flat.reshape(height, width) if name == "sartorius" else flat.reshape(width, -1).T
        found[key] += [mask_hw] if numbers else []
    return found


def dice(true, found):
    both, whole = (true & found).sum(), true.sum() + found.sum()
    return 1.0 if whole == 0 else 2 * both / whole


def iou(true, found):
    return (true & found).sum() / max((true | found).sum(), 1)


def precision_of_mask(true, found):
    if not true.any() or not found.any():
        return float(true.any() == found.any())
    return float((iou(true, found) > THRESHOLDS).mean())


def precision_of_objects(true, found):
    if not true and not found:
        return 1.0
    overlaps = np.array([[iou(one, other) for other in found] for one in true])
    hits = [(overlaps.reshape(len(true), len(found)) > t).sum() for t in THRESHOLDS]
    return float(np.mean([hit / (len(true) + len(found) - hit) for hit in hits]))


def grade(name, truth, submission):
    """The metric of the two files."""
    true, found = masks_of(truth, name), masks_of(submission, name)
    assert true.keys() == found.keys()
    if name in ("sartorius", "masks"):
        for masks in found.values():
            assert not masks or np.sum(masks, axis=0).max() <= 1, "predicted objects overlap"
        return np.mean([precision_of_objects(true[key], found[key]) for key in true])
    nothing = np.zeros(SHAPES[name], bool)
    pairs = [[np.any([nothing, *of[key]], axis=0) for of in (true, found)] for key in true]
    if name == "contrails":
        return dice(*map(np.stack, zip(*pairs, strict=True)))
    score = precision_of_mask if name == "tgs_salt" else dice
    return np.mean([score(*pair) for pair in pairs])


@pytest.mark.parametrize("name", SHAPES)
def test_a_submission_scores_what_its_own_grader_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What such a network says is noise, which a watershed cuts for minutes.
    overrides = [*TINY, "calibrate.watershed=null"]
    config = load_config(ROOT / "configs" / f"{name}.yaml", overrides)
    run = Run(config, restart=False)
    run_stages(run)
    truth = config.data_folder / "hidden" / "test_truth.csv"
    submission = run.folder / "submit" / "submission.csv"
    metrics = json.loads((submission.parent / "manifest.json").read_text())["metrics"]
    assert metrics[f"test_{config.task.metric}"] == pytest.approx(
        grade(name, truth, submission), abs=1e-9
    )
    blank = [config.data_folder / "sample_submission.csv"]
    assert metrics[f"test_{config.task.metric}_all_empty"] == pytest.approx(
        grade(name, truth, *blank), abs=1e-9
    )
