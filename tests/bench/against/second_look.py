"""Stage 4 that looks again only where it can matter, and how little that changes.

Each commit trains its own networks: the earlier one shortly and on few images, since with all
passes everywhere each image takes as long, whatever a network says of it. Processor time on one
thread counts, without what starting costs. The demo's fold includes the choice of where to look, on
64 of its 750 images; the large scenes do not, as the choice takes 400 images of however many a fold
has. Printed last: the demo, calibrated and submitted with all passes everywhere and looking again.
"""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.masks.instances import read_instances
from tests.bench.against.trees import Ratio, Tree, Trees, alternate

CHOICE = "second_look.json"
PART = "0"
COMPETITION_EMPTY = 0.78
FLOAT32, ONE_THREAD = "machine.amp=false", "machine.threads=1"
SHORT = (
    *("crops.size_px=64", "crops.per_epoch=64", "train.epochs=1", "finetune.epochs=1"),
    *("train.validation_images=1", "finetune.validation_images=1"),
)
LARGE = ("data.demo.tile_px=768", "data.demo.train_tiles=600", "data.demo.test_tiles=2")
LEARNT = ("crops.size_px=128", "crops.batch_size=16", "crops.per_epoch=1600", "train.epochs=2")


class Case(NamedTuple):
    """A run, and how it is predicted.

    Attributes:
        name: Of the run.
        what: It is.
        overrides: Of its configuration.
        learnt: What the new commit trains.
        few: What gives the earlier commit few images.
        shards: Into how many the new commit cuts its fold, of which it predicts the first.
        predicted: How stage 4 computes.
        goal: Of the ratio of images/s.
    """

    name: str
    what: str
    overrides: tuple[str, ...]
    learnt: tuple[str, ...]
    few: str
    shards: int
    predicted: tuple[str, ...]
    goal: float


def _large(encoder: str, predicted: tuple[str, ...], goal: float) -> Case:
    overrides = (*LARGE, f"network.encoder={encoder}", "network.options={}")
    few = "data.demo.train_tiles=8"
    return Case(encoder, f"{encoder} U-Net, 768 px", overrides, LEARNT, few, 12, predicted, goal)


CASES = [
    Case("demo", "the demo", (), (), "data.demo.train_tiles=200", 1, (FLOAT32,), 1.4),
    _large("resnet18", (FLOAT32,), 2.2),
    # Each in the precision it chooses: the new commit in bfloat16, where the processor has AMX.
    _large("resnet34", (), 5.0),
]


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Yield images a second, and passes an image."""
    for case in CASES:
        _prepare(trees, case)
        old, new = alternate(trees, partial(_images_per_s, case), rounds=rounds)
        yield Ratio(f"{case.what}: images/s", old, new, case.goal)
        taken = json.loads((_folder(trees.new, case) / CHOICE).read_text())["tried"][-1]
        share, of_empty = taken["looked_at_again"], taken["of_empty_images"]
        both = share, (1 - COMPETITION_EMPTY) * taken["of_others"] + COMPETITION_EMPTY * of_empty
        for where, again in zip(("own share of empty images", "78 % empty"), both, strict=True):
            yield Ratio(f"{case.what}, {where}: passes", 8, 1 + 7 * again, 1 / 1.4)
    _compare(trees.new)


def _prepare(trees: Trees, case: Case) -> None:
    """Train the case's networks in both trees, and let the new one choose where to look."""
    for tree in trees:
        tree.run("run.sh", "--to", "finetune", *_settings(tree, case))
    trees.new.run("pipeline.s4_predict", "--folds", f"{PART}:0/300", *_settings(trees.new, case))


def _settings(tree: Tree, case: Case) -> tuple[str, ...]:
    if tree.name == "old":
        return f"name={case.name}", *case.overrides, case.few, *SHORT
    return f"name={case.name}", *case.overrides, *case.learnt


def _folder(tree: Tree, case: Case) -> Path:
    return tree.folder / "runs" / case.name / "predict" / "oof" / f"fold{PART}"


def _images_per_s(case: Case, tree: Tree) -> float:
    """Predict a fold, or a shard of it, anew; a shard keeps the choice of where to look again."""
    folder, count = _folder(tree, case), case.shards if tree.name == "new" else 1
    choice = (folder / CHOICE).read_bytes() if count > 1 else None
    shutil.rmtree(folder, ignore_errors=True)
    if choice is not None:
        folder.mkdir(parents=True)
        (folder / CHOICE).write_bytes(choice)
    todo = PART if count == 1 else f"{PART}:0/{count}"
    command = ("pipeline.s4_predict", "--folds", todo, *_settings(tree, case), *case.predicted)
    whole_s, again_s = (tree.run(*command, ONE_THREAD, OMP_NUM_THREADS="1").cpu_s for _ in range(2))
    return _count(folder) / (whole_s - again_s)


def _count(folder: Path) -> int:
    """Return how many images were predicted: of a whole part, or of one shard."""
    if (folder / "index.csv").exists():
        return len((folder / "index.csv").read_text().splitlines()) - 1
    (record,) = (folder / "records").glob("*.json")
    return len(json.loads(record.read_text())["rows"])


def _compare(tree: Tree) -> None:
    """Print what looking again changes in the demo's scores and submission."""
    runs = tree.folder / "runs"
    found = []
    for name, look_again in (("looks", "true"), ("all", "false")):
        shutil.rmtree(runs / name, ignore_errors=True)
        shutil.copytree(runs / "demo", runs / name)
        shutil.rmtree(runs / name / "predict", ignore_errors=True)
        settings = (ONE_THREAD, FLOAT32, f"name={name}", f"predict.look_again={look_again}")
        tree.run("run.sh", "--from", "predict", "--to", "submit", *settings)
        scores = json.loads((runs / name / "calibrate" / "scores.json").read_text())
        (path,) = (tree.folder / "submissions").glob(f"{name}-*.csv")
        found.append((scores, read_instances(path).groupby("ImageId").EncodedPixels.apply(set)))
    (looks, ours), (whole, theirs) = found
    print(f"\nF2 of the demo, looking again and with all passes: {looks['f2']}, {whole['f2']}")
    count = np.array([[len(one - {""}) for one in each] for each in (ours, theirs)])
    print(
        f"of {len(ours)} submitted images {int((ours != theirs).sum())} differ in any pixel, "
        f"{int((count[0] != count[1]).sum())} in their number of objects"
    )
