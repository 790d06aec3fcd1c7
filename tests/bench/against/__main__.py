"""Measure parts of this commit against an earlier one.

    python -m tests.bench.against [PART ...] [--commit 7ca2b20] [--rounds 2]

What is not committed is not measured. The parts are the modules beside this one.
"""

import argparse
import importlib
import tempfile
from pathlib import Path

import torch

from tests.bench.against.trees import Tree, Trees
from tests.bench.machine import processor

PARTS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
PARTS.remove("trees")


def main() -> None:
    """Print a line for each thing that a part measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=PARTS)
    parser.add_argument("--commit", default="7ca2b20", help="the earlier one; default %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="default %(default)s")
    arguments = parser.parse_args()
    print(f"{processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| what | old | new | ratio | goal | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        trees = Trees(
            Tree.unpacked("old", arguments.commit, Path(folder) / "old"),
            Tree.unpacked("new", "HEAD", Path(folder) / "new"),
        )
        for part in arguments.parts:
            module = importlib.import_module(f"tests.bench.against.{part}")
            for one in module.measure(trees, rounds=arguments.rounds):
                print(
                    f"| {one.what} | {one.old:.4g} | {one.new:.4g} | {one.new / one.old:.2f} "
                    f"| {one.goal:.2f} | {'reached' if one.reached else 'MISSED'} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
