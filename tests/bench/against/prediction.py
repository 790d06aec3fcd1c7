"""Passes of whole images through a network a second, without symmetries: precision alone.

What a prediction costs once, such as starting and building networks, is no image's: the test
images, through both folds' networks, are timed beside the few images of a fold.
"""

from collections.abc import Iterator

from tests.bench.against.trees import Ratio, Tree, Trees, alternate

FOLDS, TRAIN_TILES = 2, 12
START = [f"data.demo.train_tiles={TRAIN_TILES}", f"folds.count={FOLDS}", "predict.tta=none"]
START += ["crops.size_px=64", "crops.per_epoch=64"]
START += [f"{stage}.epochs=1" for stage in ("train", "finetune")]
START += [f"{stage}.validation_images=1" for stage in ("train", "finetune")]
LARGE = ["network.encoder=resnet34", "network.options={}", "data.demo.tile_px=768"]
CASES = [
    ("ResNet34 U-Net, 768 px", 2.5, 20, [*LARGE, "predict.batch_size=2"]),
    ("the demo's network, 144 px, 1 thread", 1.1, 1000, ["machine.threads=1"]),
]
STAGES = ["s0_data", "s1_split", "s2_train", "s3_finetune"]


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Predict test images with networks that were trained for some steps."""
    for number, (what, goal, test_tiles, overrides) in enumerate(CASES):
        passes = FOLDS * test_tiles - TRAIN_TILES // FOLDS
        arguments = [f"name=prediction{number}", f"data.demo.test_tiles={test_tiles}"]
        arguments += [*START, *overrides]
        for tree in trees:
            for stage in STAGES:
                tree.run(f"pipeline.{stage}", *arguments)

        def passes_per_s(
            tree: Tree, passes: int = passes, arguments: list[str] = arguments
        ) -> float:
            few, all_of_them = (
                tree.run("pipeline.s4_predict", "--restart", "--folds", part, *arguments).wall_s
                for part in ("0", "test")
            )
            return passes / (all_of_them - few)

        old, new = alternate(trees, passes_per_s, rounds=rounds)
        yield Ratio(f"prediction, passes/s: {what}", old, new, goal)
