"""Crops a second in training, as the history of an epoch says: loading, step and average."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from tests.bench.against.trees import Ratio, Tree, Trees, alternate

DATA = ["data.demo.train_tiles=24", "data.demo.test_tiles=2"]
EPOCH = ["train.epochs=1", "train.validation_images=1"]


class Case(NamedTuple):
    """A network and its crops, by what differs from the demo's."""

    what: str
    goal: float
    overrides: list[str]


CASES = [
    Case(
        "ResNet18 U-Net, 256 px",
        2.2,
        [
            "network.encoder=resnet18",
            "network.options={}",
            "data.demo.tile_px=258",
            "crops.size_px=256",
            "crops.per_epoch=160",
        ],
    ),
    Case("the demo's network, 64 px, 1 thread", 1.1, ["machine.threads=1"]),
]


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Train a fold for an epoch."""
    for number, case in enumerate(CASES):
        name = f"training{number}"
        arguments = [f"name={name}", *DATA, *EPOCH, *case.overrides]
        for tree in trees:
            tree.run("pipeline.s0_data", *arguments)
            tree.run("pipeline.s1_split", *arguments)

        def crops_per_s(tree: Tree, name: str = name, arguments: list[str] = arguments) -> float:
            tree.run("pipeline.s2_train", "--folds", "0", "--restart", *arguments)
            history = pd.read_csv(tree.folder / "runs" / name / "train" / "fold0" / "history.csv")
            return float(history.crops_per_s[0])

        old, new = alternate(trees, crops_per_s, rounds=rounds)
        yield Ratio(f"training, crops/s: {case.what}", old, new, case.goal)
