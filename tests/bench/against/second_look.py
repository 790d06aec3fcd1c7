"""Stage 4 that looks again only where it can matter, and how little that changes.

The earlier commit trains the demo, and a ResNet18 U-Net on scenes of 768 px; that takes most of an
hour on two cores, so `build/second_look` keeps it. Processor time on one thread counts, without
what starting costs. The demo's fold includes the choice of where to look, on 64 of its 750 images;
the large scenes do not, as the choice takes 400 images of however many a fold has. Printed last:
the demo, calibrated and submitted with all passes everywhere and looking again.
"""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.masks.instances import read_instances
from tests.bench.against.trees import ROOT, Ratio, Tree, Trees, alternate

CACHE = ROOT / "build" / "second_look"
KEPT = ("data", "folds", "runs")
CHOICE = "second_look.json"
ALONE = ("machine.threads=1", "machine.amp=false")
RUNS = {
    "demo": ("name=demo", *ALONE),
    "large": (
        "name=large",
        *ALONE,
        *("data.demo.tile_px=768", "data.demo.train_tiles=600", "data.demo.test_tiles=48"),
        *("network.encoder=resnet18", "network.options.encoder_depth=5"),
        *("network.options.decoder_channels=[128,64,32,16,16]", "machine.image_cache_mib=700"),
        *("crops.size_px=128", "crops.batch_size=16", "crops.per_epoch=1600", "train.epochs=2"),
    ),
}
GOALS = {"demo": 1.4, "large": 2.2}
COMPETITION_EMPTY = 0.78


class Shards(NamedTuple):
    """Into how many shards each tree's part is cut, of which it predicts the first."""

    old: int
    new: int


# With all passes everywhere every image takes as long, so few of them tell.
SHARDS = {
    ("large", "0"): Shards(75, 12),
    ("large", "test"): Shards(16, 3),
    ("demo", "0"): Shards(1, 1),
}


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Yield images a second, and passes an image."""
    _prepare(trees)
    for (name, part), shards in SHARDS.items():
        old, new = alternate(trees, partial(_images_per_s, name, part, shards), rounds=rounds)
        yield Ratio(f"{name}, {part}: images/s", old, new, GOALS[name])
    for name in RUNS:
        taken = _choice(trees.new, name, 0)["tried"][-1]
        share, of_empty = taken["looked_at_again"], taken["of_empty_images"]
        both = share, (1 - COMPETITION_EMPTY) * taken["of_others"] + COMPETITION_EMPTY * of_empty
        for where, again in zip(("own share of empty images", "78 % empty"), both, strict=True):
            yield Ratio(f"{name}, fold 0, {where}: passes", 8, 1 + 7 * again, 1 / 1.4)
    _compare(trees.new)


def _prepare(trees: Trees) -> None:
    """Give both trees the same trained runs, and the new one its choice for the large scenes."""
    if not CACHE.exists():
        for overrides in RUNS.values():
            trees.old.run("run.sh", "--to", "finetune", *overrides)
        for name in KEPT:
            shutil.copytree(trees.old.folder / name, CACHE / name)
    for tree in trees:
        for name in KEPT:
            shutil.copytree(CACHE / name, tree.folder / name, dirs_exist_ok=True)
    for fold in (0, 1):
        _predict(trees.new, "large", f"{fold}:0/300")
        kept = CACHE / "runs" / "large" / "predict" / "oof" / f"fold{fold}"
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(_folder(trees.new, "large", str(fold)) / CHOICE, kept)


def _folder(tree: Tree, name: str, part: str) -> Path:
    leaf = "test" if part == "test" else f"oof/fold{part}"
    return tree.folder / "runs" / name / "predict" / leaf


def _choice(tree: Tree, name: str, fold: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = json.loads(
        (_folder(tree, name, str(fold)) / CHOICE).read_text()
    )
    return found


def _predict(tree: Tree, name: str, part: str) -> float:
    """Predict a part, or what is left of it; return the processor time."""
    command = ("pipeline.s4_predict", "--folds", part, *RUNS[name])
    return tree.run(*command, OMP_NUM_THREADS="1").cpu_s


def _images_per_s(name: str, part: str, shards: Shards, tree: Tree) -> float:
    """Predict a part, or a shard of it, anew; a shard keeps the choice of where to look again."""
    folder, count = _folder(tree, name, part), getattr(shards, tree.name)
    choice = folder / CHOICE
    kept = choice.read_bytes() if choice.exists() and count > 1 else None
    shutil.rmtree(folder, ignore_errors=True)
    if kept is not None:
        folder.mkdir(parents=True)
        choice.write_bytes(kept)
    todo = part if count == 1 else f"{part}:0/{count}"
    whole_s = _predict(tree, name, todo)
    return _count(folder) / (whole_s - _predict(tree, name, todo))


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
        settings = (*ALONE, f"name={name}", f"predict.look_again={look_again}")
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
