"""What contact and watershed are worth on trained networks: the same budget, several seeds.

    python -m tests.bench.separation [--seeds 0,1,2] [--crops 3200] [--epochs 9] [key=value ...]

Networks learn ships alone (configs/demo.yaml), ships and contact (contact.yaml), or three classes
(classes.yaml). Their out-of-fold maps of images with ships are cut by every method that they allow.
A method's numbers are chosen on all folds but one, by F2 on images with ships, and applied to that
one. Images whose ships touch (fewer components than ships in the truth) and the others are averaged
apart: contact should gain on the first and not lose on the second. No gate: images without ships
have no part in this.
"""

from itertools import product
from pathlib import Path
from statistics import mean, stdev

import cv2
import numpy as np
import pandas as pd

from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_stored_config
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.inference.probmaps import MapReader
from pipeline.jobs.run import Run
from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import decode_labels, encode_labels
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.selection.rules import find_objects
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation
from tests.bench.sizes import sized
from tests.bench.trials import budget_of, parser, run_trial

CONFIGS = {"object": "demo", "object_contact": "contact", "softmax": "classes"}
THRESHOLDS = (102, 128, 153)
MIN_AREAS_PX = (0, 16, 32)
METHODS = {
    "components": [Separation("components", t, c) for t, c in product(THRESHOLDS, (4, 8))],
    "contact": [
        Separation("contact", t, 8, seed=seed, merge_below_px=merge)
        for t, seed, merge in product(THRESHOLDS, (38, 64, 128), (0, 16))
    ],
    "distance": [
        Separation("distance", t, 8, seed=seed, merge_below_px=16)
        for t, seed in product(THRESHOLDS, (60, 70, 80))
    ],
}


def touching(texts, size):
    """Whether some ships of an image touch: it has fewer components than ships."""
    ship_hw = (decode_labels(texts, *size) > 0).astype(np.uint8)
    return cv2.connectedComponents(ship_hw, connectivity=8)[0] - 1 < len(texts)


def f2_of_methods(folder):
    """Cross-fitted F2 of each image with ships by each method, and whether its ships touch."""
    run = Run(load_stored_config(folder / "config.yaml"), restart=False)
    catalog = Catalog.of(run)
    folds = read_folds(run.result("split").folder / "folds.csv").set_index("ImageId").fold
    size, kind = catalog.sizes.common, run.config.targets.kind
    truth = catalog.instances[catalog.instances.EncodedPixels != ""]
    maps = {}
    for fold in range(run.config.folds.count):
        ids = folds.index[folds == fold].tolist()
        job = run.result("predict/oof", fold=fold)
        reader = MapReader(job, ids, catalog.sizes, contact=CHANNELS[kind] > 1)
        maps |= {name: reader.read(name) for name in set(ids) & set(truth.ImageId)}
    texts = truth.groupby("ImageId").EncodedPixels.apply(list)
    table = pd.DataFrame({"touch": texts.map(lambda each: touching(each, size))})
    table["fold"] = folds[table.index]
    methods = [m for m in METHODS if m != "contact" or CHANNELS[kind] > 1]
    for method in methods:
        tried = pd.concat(
            [f2_by(how, maps, truth, catalog.sizes) for how in METHODS[method]], axis=1
        )
        table[method] = cross_fitted(tried, table.fold)
    return table


def f2_by(how, maps, truth, sizes):
    """F2 of each image with each minimum area, one column each."""
    columns = []
    for min_area_px in MIN_AREAS_PX:
        rows = []
        for name, of_image in maps.items():
            labels_hw = find_objects(of_image, Rules(how, min_area_px))
            found = [""] if labels_hw is None else encode_labels(labels_hw)
            rows += [(name, text) for text in found]
        found = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
        columns.append(match_objects(truth, found, sizes, F2()).images.set_index("ImageId").f2)
    return pd.concat(columns, axis=1)


def cross_fitted(tried, fold):
    """F2 of each image by the column that is best on the other folds."""
    parts = []
    for held in fold.unique():
        best = tried[(fold != held).reindex(tried.index)].mean().to_numpy().argmax()
        parts.append(tried.loc[fold.index[fold == held]].iloc[:, best])
    return pd.concat(parts)


def main():
    flags = parser(__doc__, "separation", crops=3200, epochs=9)
    flags.add_argument("--seeds", default=sized("0,1,2", "0"))
    flags.add_argument(
        "--kinds", default=sized(",".join(CONFIGS), "object"), help="default: %(default)s"
    )
    arguments = flags.parse_intermixed_args()
    rows = []
    for seed, kind in product(arguments.seeds.split(","), arguments.kinds.split(",")):
        name = f"{arguments.prefix}-{kind}-{seed}"
        config = Path("configs") / f"{CONFIGS[kind]}.yaml"
        run_trial(config, name, [*budget_of(arguments), f"seed={seed}"])
        table = f2_of_methods(Path("runs") / name)
        for method in set(METHODS) & set(table):
            means = table.groupby("touch")[method].mean()
            rows.append((kind, method, means[True], means[False], table[method].mean()))
        print(f"{name}: {table.touch.sum()} of {len(table)} ship images have ships that touch")
    print("| learnt | cut by | F2, ships touch | F2, other ship images | F2, ship images |")
    print("|---|---|---|---|---|")
    found = pd.DataFrame(rows, columns=["kind", "method", "touching", "others", "all"])
    for (kind, method), group in found.groupby(["kind", "method"], sort=False):
        cells = [
            f"{mean(values):.3f} ± {stdev(values) if len(values) > 1 else 0.0:.3f} "
            f"({', '.join(f'{value:.3f}' for value in values)})"
            for values in (group.touching, group.others, group["all"])
        ]
        print(f"| {kind} | {method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
