"""What separation makes of perfect maps: the true ships as a network would answer at its best.

    python -m tests.bench.perfect [INSTANCES.csv] [--size HEIGHT WIDTH] [--contact-px 2]

The ships of each image (`ImageId,EncodedPixels`, as the competition's file) become the targets that
networks learn, those become maps of certainty, the maps are cut into ships by every method, and the
ships are scored by the competition's metric: mean F2 on images with ships, by their number. Images
whose ships break a rule (an illegal RLE, masks that share pixels) are counted and left out. Without
a file: synthetic sets in which most ships touch, see tests/annotations.py.
"""

import argparse
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.fields import CHANNELS
from pipeline.config.schema import Targets
from pipeline.data.targets import make_target
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS, check_instances, read_instances
from pipeline.masks.rle import decode_labels, encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.separation.separate import Separation
from tests.annotations import annotation_set, separate
from tests.bench.sizes import sized

METHODS = {
    "components, 8": ("object", Separation("components", 128, 8)),
    "components, 4": ("object", Separation("components", 128, 4)),
    "distance": ("object", Separation("distance", 128, 8, seed=70)),
    "contact": ("object_contact", Separation("contact", 128, 8, seed=128)),
    "contact, of classes": ("softmax", Separation("contact", 128, 8, seed=128)),
}
SHIPS = {
    "all": (1, 10**6),
    "1": (1, 1),
    "2": (2, 2),
    "3-4": (3, 4),
    "5-9": (5, 9),
    "10+": (10, 10**6),
}
CHUNK = 64


def perfect_maps(labels_hw, targets):
    """The maps of a network that answers every pixel with the target."""
    target = make_target(labels_hw[None], targets).numpy()
    if targets.kind == "softmax":
        target = np.stack([target > 0, target == 2])
    maps_chw = 255 * target.astype(np.uint8)
    return ImageMaps(maps_chw[0], maps_chw[1] if len(maps_chw) > 1 else None)


def cut(images, size, contact_px):
    """Rows of instances of each method, of images given as (ImageId, texts)."""
    rows = {method: [] for method in METHODS}
    for image_id, texts in images:
        labels_hw = decode_labels(texts, *size)
        maps = {
            kind: perfect_maps(
                labels_hw, Targets(kind=kind, contact_px=contact_px, contact_weight=1.0)
            )
            for kind in CHANNELS
        }
        for method, (kind, how) in METHODS.items():
            found = encode_labels(separate(maps[kind], how, 0))
            rows[method] += [(image_id, text) for text in found or [""]]
    return rows


def legal_ships(frame, size):
    """The rows of images with ships and without a defect."""
    bad = {defect.image_id for defect in check_instances(frame, Sizes(size), "the file")}
    if bad:
        print(f"{len(bad)} images left out, whose ships break a rule: {sorted(bad)[:5]}")
    return frame[(frame["EncodedPixels"] != "") & ~frame["ImageId"].isin(bad)]


def scores(ships, size, contact_px, jobs):
    """F2 of each image for every method, and its number of ships."""
    images = list(ships.groupby("ImageId")["EncodedPixels"].apply(list).items())
    work = partial(cut, size=size, contact_px=contact_px)
    with get_context("spawn").Pool(jobs) as pool:
        parts = pool.map(work, [images[i : i + CHUNK] for i in range(0, len(images), CHUNK)])
    table = {}
    for method in METHODS:
        rows = [row for part in parts for row in part[method]]
        found = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
        table[method] = match_objects(ships, found, Sizes(size), F2()).images.set_index("ImageId")
    count = table["contact"]["n_true"]
    return pd.DataFrame({method: of["f2"] for method, of in table.items()}), count


def report(f2, count):
    """Print the means by number of ships."""
    chosen = {name: (count >= low) & (count <= high) for name, (low, high) in SHIPS.items()}
    print("| F2 on ship images, of images with | " + " | ".join(chosen) + " |")
    print("|---|" + "---|" * len(chosen))
    print("| images | " + " | ".join(str(int(rows.sum())) for rows in chosen.values()) + " |")
    for method in f2:
        means = [f2.loc[rows, method].mean() for rows in chosen.values()]
        print(f"| {method} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")


def main():
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("csv", type=Path, nargs="?", help="instances; default: synthetic ones")
    flags.add_argument("--size", type=int, nargs=2, default=(768, 768), metavar=("H", "W"))
    flags.add_argument("--contact-px", type=int, default=2, help="targets.contact_px")
    flags.add_argument("--images", type=int, default=sized(600, 6), help="synthetic ones")
    flags.add_argument("--jobs", type=int, default=sized(2, 1), help="processes")
    arguments = flags.parse_args()
    size = tuple(arguments.size)
    start = time.perf_counter()
    given = arguments.csv is not None
    frame = read_instances(arguments.csv) if given else annotation_set(arguments.images)
    ships = legal_ships(frame, size)
    if ships.empty:
        raise SystemExit(f"{arguments.csv}: no image with ships")
    f2, count = scores(ships, size, arguments.contact_px, arguments.jobs)
    report(f2, count)
    if not given:
        print(f2.groupby(f2.index.str.split("-").str[0]).mean().round(4).to_string())
    worst = f2["contact"].nsmallest(5).round(3)
    print("worst by contact: " + ", ".join(f"{name} {value}" for name, value in worst.items()))
    print(f"{len(f2)} images, {len(ships)} ships, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
