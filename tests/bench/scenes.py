"""Scenes that are larger than memory, and what depends on their extent.

    OMP_NUM_THREADS=1 python -m tests.bench.scenes [runs/demo]

Memory and processor seconds of a sparse scene of 30,000 px a side and of a noisy one of 12,000,
beside a stub for the networks that sees pixels alone; the noisy one with blocks of three sizes.
With a finished run also its test images' maps as one mosaic: in how many of them any object differs
from what the run's rules find in the image alone, with cells that lie on the images and with cells
that do not; as the baseline, with the mosaic as one image.
"""

import hashlib
import math
import multiprocessing
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch

from pipeline.commands._runs import open_run
from pipeline.config.load import load_config
from pipeline.data.catalog import Catalog
from pipeline.inference.probmaps import MapReader
from pipeline.inference.tta import Chances
from pipeline.maps import ImageMaps
from pipeline.masks.rle import decode_mask
from pipeline.package.contents import Package
from pipeline.package.model import Model
from pipeline.selection.rules import find_objects
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation
from tests.bench.sizes import sized

WINDOW_PX = sized(768, 64)
SPARSE_PX, NOISY_PX = sized((30_000, 12_000), (600, 400))
BLOCKS_PX = sized((1024, 2048, 4096), (50, 100, 400))
RULES = Rules(Separation("components", 128, 8), min_area_px=4, filter_level=140)


class Stub:
    """Networks that see pixels alone: the red channel is the probability."""

    batch_size = 8

    def __init__(self, *_):
        pass

    def __call__(self, images_nchw):
        return Chances(images_nchw[:, :1].float() / 255, None)


class Scene:
    """A texture of ragged spots, again and again, of which some squares are valid."""

    def __init__(self, side_px, share_valid, grain):
        self.name, self.height, self.width = f"{side_px} px", side_px, side_px
        self.identity = {"side": side_px, "valid": share_valid, "grain": grain}
        rng = np.random.default_rng(0)
        spots_hw = cv2.dilate((rng.random((509, 521)) > grain).astype(np.uint8), np.ones((4, 12)))
        self._texture = spots_hw * rng.integers(90, 256, spots_hw.shape, dtype=np.uint8)
        self._valid = rng.random((61, 67)) < share_valid  # of squares of 500 px

    def read(self, box):
        rows, columns = np.arange(box.top, box.bottom), np.arange(box.left, box.right)
        grey = self._texture[np.ix_(rows % 509, columns % 521)]
        valid = self._valid[np.ix_(rows // 500 % 61, columns // 500 % 67)]
        return np.repeat((grey * valid)[..., None], 3, axis=2), valid


def mib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def model_of(config, rules, size):
    with patch("pipeline.package.model.MeanNetwork", Stub):
        each = dict.fromkeys(config.task.classes, rules)
        return Model(Package(config, None, (), (), each, None, size, {}), device="cpu")


def measure(scene, blocks_px):
    """Find all objects of a scene; print seconds, memory, and what is found with each block."""
    torch.set_num_threads(1)
    model = model_of(load_config(Path("configs/demo.yaml"), []), RULES, (WINDOW_PX, WINDOW_PX))
    with tempfile.TemporaryDirectory() as work:
        for block_px in blocks_px:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
            before, start = mib("VmRSS"), time.process_time()
            windows = model.windows(scene, Path(work), block_px=block_px)
            predicted = time.process_time()
            digest, count = hashlib.sha256(), 0
            for one in model._describe_each(windows):
                digest.update(repr(one).encode())
                count += 1
            kept = sum(path.stat().st_size for path in Path(work).iterdir()) / 2**20
            print(
                f"{scene.name}, blocks of {block_px}: {windows.computed.sum():,} of "
                f"{windows.computed.size:,} windows, {count:,} objects {digest.hexdigest()[:12]}; "
                f"windows {predicted - start:.1f} s, {kept:.0f} MiB on the disk; objects "
                f"{time.process_time() - predicted:.1f} s; {mib('VmHWM') - before:.0f} MiB",
                flush=True,
            )


def in_a_process(*arguments):
    process = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def tiles_that_differ(run):
    """Print in how many test images the objects differ from those of the image alone."""
    catalog = Catalog.of(run)
    reader = MapReader(
        run.result("predict/test"), catalog.test_ids, catalog.test_mask_sizes, contact=False
    )
    ids, (height, width) = sorted(catalog.test_ids), catalog.sizes.largest
    rows = math.isqrt(len(ids))
    columns = len(ids) // rows
    maps = [(reader.read_all(name) or reader.background(name))[0].prob_hw for name in ids]
    (rules,) = Package.of_run(run).rules.values()
    places = [*product(range(0, rows * height, height), range(0, columns * width, width))]
    alone = [parts(find_objects(ImageMaps(prob_hw), rules)) for prob_hw in maps]

    def differ(labels_hw):
        cut = [parts(labels_hw[y : y + height, x : x + width]) for y, x in places]
        each = [one ^ other for one, other in zip(cut, alone, strict=False)]
        inside = [any(not at_edge for at_edge, _ in differing) for differing in each]
        return f"{sum(map(bool, each))} of {len(places)}, by objects off the edges {sum(inside)}"

    mosaic_hw = np.zeros((rows * height, columns * width), np.uint8)
    for prob_hw, (y, x) in zip(maps, places, strict=False):
        mosaic_hw[y : y + height, x : x + width] = prob_hw
    print(f"images of {height}x{width} px that differ")
    print(f"the mosaic as one image: {differ(find_objects(ImageMaps(mosaic_hw), rules))}")
    model = model_of(run.config, rules, (height, width))
    for y, x in product((0, height // 2), (0, width // 2)):
        shifted_hw = np.pad(mosaic_hw, ((y, 0), (x, 0)))
        labels_hw = np.zeros(shifted_hw.shape, np.int32)
        for number, one in enumerate(model.predict(np.dstack([shifted_hw] * 3)), 1):
            labels_hw[decode_mask(one.rle, *shifted_hw.shape) > 0] = number
        print(f"cells {y} and {x} px away from the images' corners: {differ(labels_hw[y:, x:])}")


def parts(labels_hw):
    """Return the objects of a label map: whether each meets the edge, and its mask's bytes."""
    masks = [] if labels_hw is None else [labels_hw == n for n in np.unique(labels_hw) if n]
    return {(bool(one.sum() > one[1:-1, 1:-1].sum()), one.tobytes()) for one in masks}


def main():
    each = sized(in_a_process, measure)
    each(Scene(SPARSE_PX, 0.02, 0.9995), BLOCKS_PX[1:2])
    each(Scene(NOISY_PX, 1.0, 0.9995), BLOCKS_PX)
    if len(sys.argv) > 1:
        tiles_that_differ(open_run(sys.argv[1]))


if __name__ == "__main__":
    main()
