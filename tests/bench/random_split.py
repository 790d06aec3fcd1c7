"""How much a random split overrates: the same images and budget, split by scene and at random.

    PYTHONPATH=. python tests/bench/random_split.py [seed ...]

For each seed a run on the demo, and one on a copy of its folder whose folds treat every tile as a
group of its own, balanced alike, so that tiles of one scene stand on both sides. The test images
come from scenes of their own.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.config.load import load_config
from pipeline.data.catalog import TRUTH
from pipeline.data.folds import make_folds, write_folds
from pipeline.masks.instances import read_instances

DEMO = Path("configs/demo.yaml")


def run(*overrides):
    subprocess.run(["./run.sh", str(DEMO), *overrides], check=True)
    folder = Path("runs") / next(o for o in overrides if o.startswith("name=")).removeprefix(
        "name="
    )
    oof, test = (
        json.loads((folder / stage / "manifest.json").read_text())["metrics"]
        for stage in ("calibrate", "submit")
    )
    names = ("f2", "f2_ship_images"), ("test_f2", "test_f2_ships")
    return [oof[name] for name in names[0]] + [test[name] for name in names[1]]


def split_at_random(root, copy, folds, seed):
    shutil.copytree(root, copy, dirs_exist_ok=True)
    truth = read_instances(root / TRUTH)
    ids = sorted(set(truth.ImageId))
    table = make_folds(ids, np.arange(len(ids)), truth, folds=folds, seed=seed)
    write_folds(Path("folds") / f"{copy.name}.csv", table, truth, seed=seed)


def compare(seed):
    overrides = [f"seed={seed}", f"data.demo.seed={seed}"]
    by_scene = run(*overrides, f"name=demo-seed{seed}")
    config = load_config(DEMO, overrides)
    copy = Path("data") / f"random-split-{seed}"
    split_at_random(config.data.folder, copy, config.folds.count, seed)
    truth = config.data.folder / "hidden" / "test_ship_segmentations_v2.csv"
    at_random = run(
        f"seed={seed}",
        f"data.root={copy}",
        f"data.test_truth={truth}",
        f"name=random-split-{seed}",
    )
    return by_scene, at_random


if __name__ == "__main__":
    results = [(seed, *compare(seed)) for seed in map(int, sys.argv[1:] or ["0"])]
    print("| seed | split | out-of-fold F2 | ship images | test F2 | ship images |")
    print("|---|---|---|---|---|---|")
    for seed, *rows in results:
        for split, row in zip(("by scene", "at random"), rows, strict=True):
            print(f"| {seed} | {split} | {' | '.join(f'{value:.3f}' for value in row)} |")
