"""The demo from nothing to its report, and the run after it that finds all done.

SMALL=1 takes a smaller demo that trains for less, in which starting weighs more.
"""

import shutil
from collections.abc import Iterator
from statistics import median

from tests.bench.against.trees import Ratio, Tree, Trees, alternate
from tests.bench.sizes import sized

SMALLER = ["data.demo.train_tiles=400", "data.demo.test_tiles=60", "crops.per_epoch=800"]
SMALLER += ["train.epochs=4"]
COMMAND = ["run.sh", *sized([], SMALLER)]


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Time whole demos, and then what is left to do."""
    cpu_s: dict[str, list[float]] = {tree.name: [] for tree in trees}

    def from_nothing(tree: Tree) -> float:
        for made in ("data", "folds", "runs", "submissions"):
            shutil.rmtree(tree.folder / made, ignore_errors=True)
        cost = tree.run(*COMMAND)
        cpu_s[tree.name].append(cost.cpu_s)
        return cost.wall_s

    wall_s = alternate(trees, from_nothing, rounds=rounds)
    yield Ratio("demo, wall s", *wall_s, 0.65)
    yield Ratio("demo, processor s", *(median(cpu_s[tree.name]) for tree in trees), 0.65)
    again = alternate(trees, lambda tree: tree.run(*COMMAND).cpu_s, rounds=rounds + 1)
    yield Ratio("all done before, processor s", *again, 2.5 / 8.4)
