"""Stages 0 and 1 on rendered tiles of the competition's size: checked, described and split."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.data.demo import render_demo
from tests.bench.against.trees import Ratio, Tree, Trees, alternate
from tests.bench.sizes import sized

TILES, FEW_TILES = sized(2000, 24), 8
STAGES = "pipeline.s0_data", "pipeline.s1_split"
# The stages take as many workers as the machine has cores.
ON_CORES = """
import os, runpy, sys
cores = int(sys.argv.pop(1))
os.cpu_count = lambda: cores
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Compare the processor time of both stages, with one worker and with two.

    A second line leaves out what is no work on tiles: what the stages take on a few.
    """
    for tree in trees:
        (tree.folder / "on_cores.py").write_text(ON_CORES)
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        for count in (TILES, FEW_TILES):
            sizes = {"tile_px": 768, "max_ship_px": 400, "train_tiles": count, "test_tiles": 4}
            render_demo(Path(folder) / f"{count}-tiles", seed=0, empty_share=0.5, **sizes)
        for cores in (1, 2):
            (old, new), (old_start, new_start) = (
                alternate(
                    trees, partial(_cpu_s, folder=folder, tiles=count, cores=cores), rounds=rounds
                )
                for count in (TILES, FEW_TILES)
            )
            what = f"stages 0 and 1, {TILES} tiles, workers: {cores}, processor time (s)"
            yield Ratio(what, old, new, goal=0.6)
            yield Ratio(f"{what} beyond that of {FEW_TILES}", old - old_start, new - new_start, 0.6)


def _cpu_s(tree: Tree, *, folder: str, tiles: int, cores: int) -> float:
    """Processor time of both stages where nothing was done before."""
    for done in ("data", "runs", "folds"):
        shutil.rmtree(tree.folder / done, ignore_errors=True)
    arguments = "--config", "configs/demo.yaml", f"data.root={folder}/{tiles}-tiles"
    return sum(tree.run("on_cores", str(cores), stage, *arguments).cpu_s for stage in STAGES)
