"""From maps to rules and to the file to upload, at the competition's size.

    python -m tests.bench.ships [images]

Maps are drawn like a network's (blurred ships of the measured sizes, faint false ones, misses),
stored as PNG and decoded each time they are asked for, as the pipeline does. `images` (default
20,000) have ships; 15,606 maps go into the submission, fewer in proportion where `images` is less.
"""

import math
import os
import resource
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.calibration.calibrate import calibrate
from pipeline.config.load import load_config
from pipeline.data.contact import contact
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import decode_labels, encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.s5_calibrate import candidates
from pipeline.selection.submission import submit_maps
from pipeline.separation.foreground import pack
from pipeline.separation.separate import Separation
from tests.annotations import separate
from tests.bench.sizes import sized
from tests.found import find_instances

SIDE = 768
DISTINCT = sized(200, 24)
CONFIG = load_config(Path("configs/airbus.yaml"), [])
CALIBRATE = CONFIG.calibrate
CANDIDATES = candidates(CALIBRATE, contact=False)


def blob(rng, canvas_hw, value):
    length = float(np.clip(rng.lognormal(3.66, 0.9), 5, 300))
    width = max(length / rng.lognormal(1.1, 0.4), 3.0)
    centre = tuple(rng.uniform(20, SIDE - 20, 2).tolist())
    box = cv2.boxPoints((centre, (length, width), float(rng.uniform(0, 180))))
    cv2.fillPoly(canvas_hw, [np.round(box).astype(np.int32)], value)


def image(rng):
    """The true ships of one image, as texts, and its map as a PNG."""
    labels_hw = np.zeros((SIDE, SIDE), np.int32)
    for label in range(1, min(int(rng.zipf(2.0)), 15) + 1):
        blob(rng, labels_hw, label)
    present = np.unique(labels_hw)[1:]
    prob_hw = np.zeros((SIDE, SIDE), np.float32)
    for label in present:
        if rng.random() < 0.9:
            prob_hw[labels_hw == label] = rng.uniform(110, 255)
    for _ in range(rng.poisson(0.7)):
        blob(rng, prob_hw, rng.uniform(60, 190))
    prob_hw = cv2.GaussianBlur(np.roll(prob_hw, rng.integers(-1, 2, 2), (0, 1)), (0, 0), 1.5)
    numbered = np.searchsorted(np.append(0, present), labels_hw).astype(np.int32)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # as stage 4 writes them
    png = cv2.imencode(".png", prob_hw.clip(0, 255).astype(np.uint8), settings)[1]
    return encode_labels(numbered), png


def read(png):
    return ImageMaps(cv2.imdecode(png, cv2.IMREAD_UNCHANGED))


class Maps:
    """`count` ship images, the distinct ones over and over, and three times as many empty ones."""

    def __init__(self, images, count):
        self.images, self.count = images, count

    def __iter__(self):
        for index in range(self.count):
            _, png = self.images[index % len(self.images)]
            yield f"{index:06}.jpg", index % 5, read(png)
        for index in range(self.count, 4 * self.count):
            yield f"{index:06}.jpg", index % 5, None

    def truth(self):
        rows = [
            (f"{index:06}.jpg", text)
            for index in range(self.count)
            for text in self.images[index % len(self.images)][0]
        ]
        rows += [(f"{index:06}.jpg", "") for index in range(self.count, 4 * self.count)]
        return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


PLAIN = Separation("components", 128, 8)


def opencv_separate(prob_hw, threshold, connectivity, min_area_px):
    """The straight way: OpenCV's statistics on the whole frame, and a look-up for every pixel."""
    _, labels_hw, stats, _ = cv2.connectedComponentsWithStats(
        (prob_hw >= threshold).astype(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area_px
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels_hw]


def cpu_ms(function, maps, repeats=5):
    """Processor time of one map: the least and the median of all calls."""
    times_ns = []
    for one in maps * repeats:
        start = time.process_time_ns()
        function(one)
        times_ns.append(time.process_time_ns() - start)
    return f"{min(times_ns) / 1e6:.3f} / {np.median(times_ns) / 1e6:.3f} ms"


def with_contact(texts, png):
    """The maps of a network that also tells contact, as blurred as its ships."""
    contact_hw = contact(decode_labels(texts, SIDE, SIDE), 2).astype(np.float32)
    contact_hw = cv2.GaussianBlur(250 * contact_hw, (0, 0), 1)
    return replace(read(png), contact_hw=contact_hw.astype(np.uint8))


def separation(images):
    cv2.setNumThreads(1)
    maps = [with_contact(*one) for one in images[:40]]
    empty = [ImageMaps(np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8))] * 40
    for one in maps:
        assert (
            (separate(one, PLAIN, 20) > 0) == (opencv_separate(one.prob_hw, 128, 8, 20) > 0)
        ).all()
    print("separate, processor time of a map, least / median:")
    for how in (
        PLAIN,
        Separation("contact", 128, 8, seed=128),
        Separation("distance", 128, 8, seed=70),
    ):
        typical, nothing = (
            cpu_ms(lambda m, how=how: separate(m, how, 20), each) for each in (maps, empty)
        )
        print(f"  {how.method}: typical {typical} (goal 3), empty {nothing} (goal 0.1)")
    straight = cpu_ms(lambda m: opencv_separate(m.prob_hw, 128, 8, 20), maps)
    print(f"  straight OpenCV, components: typical {straight}")


def search(images, count):
    maps = Maps(images, count)
    truth = maps.truth()
    start, cpu_start = time.perf_counter(), sum(os.times()[:4])
    result = calibrate(
        *(maps, truth, Sizes((SIDE, SIDE)), CANDIDATES),
        metric=F2(),
        learning=CALIBRATE.candidate_selection,
        jobs=2,
    )
    wall_s, cpu_s = time.perf_counter() - start, sum(os.times()[:4]) - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sets = math.prod(map(len, (CANDIDATES.separations, *CANDIDATES.numbers)))
    print(
        f"calibrate: {count} ship images, {3 * count} without a map, {sets} sets of rules: "
        f"{wall_s:.1f} s on two processes, {cpu_s:.1f} s of processor time "
        f"(goal 300 s for 20,000), peak {peak:.2f} GiB"
    )
    print(
        f"  {result.trials}; F2 {result.scores['f2']:.4f}, on ship images "
        f"{result.scores['f2_ship_images']:.4f}, in sample {result.scores['f2_in_sample']:.4f}"
    )

    sample = list(islice(Maps(images, 50), 50))
    part = truth[truth["ImageId"].isin([image_id for image_id, *_ in sample])]
    start = time.perf_counter()
    plain = CANDIDATES.rules((0, 0, 0, 0))
    packed = [(image_id, fold, pack(one, plain.lowest)) for image_id, fold, one in sample]
    found = find_instances(packed, dict.fromkeys(range(5), plain))
    match_objects(part, found, Sizes((SIDE, SIDE)), F2())
    again_s = (time.perf_counter() - start) / len(sample) * count * sets
    print(
        f"  looking at every map again for each set of rules: {again_s:.0f} s, "
        f"{again_s / wall_s:.0f}x (from 50 maps and one set)"
    )
    return result.rules, plain


def submit(images, rules, count):
    ids = [f"{index:06}.jpg" for index in range(count)]
    start = time.perf_counter()
    cpu_start = sum(os.times()[:4])
    maps = ((i, [read(images[n % len(images)][1])]) for n, i in enumerate(ids))
    frame = submit_maps(maps, {"ship": rules}, ids, CONFIG.task, Sizes((SIDE, SIDE)), jobs=2)
    wall_s, cpu_s = time.perf_counter() - start, sum(os.times()[:4]) - cpu_start
    print(
        f"submit by {type(rules).__name__}: {count} maps, {len(frame)} rows, built and checked: "
        f"{wall_s:.1f} s on two processes, {cpu_s:.1f} s of processor time "
        "(goal 120 s for 15,606; here every image has ships)"
    )


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rng = np.random.default_rng(0)
    images = [image(rng) for _ in range(DISTINCT)]
    separation(images)
    for rules in search(images, count):
        submit(images, rules, round(15_606 * count / 20_000))


if __name__ == "__main__":
    main()
