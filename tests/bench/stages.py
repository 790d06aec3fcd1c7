"""What the EMA, the Lovász stage and test-time augmentation are worth: out-of-fold, cross-fitted.

    python -m tests.bench.stages runs/demo [runs/demo-seed1 ...]

From finished runs. The weights of each stage, as the optimiser left them and as their EMA, predict
the held-out images; each variant gets rules of its own, by the run's calibration. The last line of
a variant is the mean over the runs and, with several, its standard deviation.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from pipeline.calibration.calibrate import calibrate
from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_stored_config
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.data.tiles import ImageDataset
from pipeline.inference.tta import SYMMETRIES, mean_probability
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps, as_levels
from pipeline.metrics.f2 import F2
from pipeline.networks.build import build_trained
from pipeline.s5_calibrate import candidates

# Name of the variant: stage, part of its last.pt, symmetries.
VARIANTS = {
    "BCE - ln Dice": ("train", "network", "none"),
    "BCE - ln Dice, EMA": ("train", "ema", "none"),
    "Lovász": ("finetune", "network", "none"),
    "Lovász, EMA": ("finetune", "ema", "none"),
    "Lovász, EMA, flips": ("finetune", "ema", "flips"),
    "Lovász, EMA, D4": ("finetune", "ema", "d4"),
}
SCORES = ("f2", "f2_ship_images", "f2_empty_images")


@torch.inference_mode()
def out_of_fold(run, catalog, folds, variant):
    """Maps of all training images: (ImageId, fold, uint8 (H, W))."""
    stage, part, symmetries = variant
    kind = run.config.targets.kind
    maps = []
    for fold in range(run.config.folds.count):
        state = torch.load(run.result(stage, fold=fold).folder / "last.pt", weights_only=True)
        network = build_trained(run.config.network, CHANNELS[kind], state[part]).eval()
        network = network.to(memory_format=torch.channels_last)
        ids = folds.ImageId[folds.fold == fold].tolist()
        paths = [catalog.train_path(image_id) for image_id in ids]
        images = ImageDataset(paths, catalog.sizes.common)
        for start in range(0, len(ids), 16):
            stop = min(start + 16, len(ids))
            batch = torch.stack([images[index]["image_chw"] for index in range(start, stop)])
            batch = batch.contiguous(memory_format=torch.channels_last)
            prob_nchw = mean_probability(network, batch, SYMMETRIES[symmetries], kind).maps_nchw
            maps_nhw = as_levels(prob_nchw[:, 0]).numpy()
            maps_nhw = [ImageMaps(prob_hw) for prob_hw in maps_nhw]
            maps += zip(ids[start:stop], [fold] * (stop - start), maps_nhw, strict=True)
    return maps


def scores(folder):
    config = load_stored_config(folder / "config.yaml")
    run = Run(config, restart=False)
    catalog = Catalog.of(run)
    folds = read_folds(run.result("split").folder / "folds.csv")
    for name, variant in VARIANTS.items():
        found = calibrate(
            out_of_fold(run, catalog, folds, variant),
            catalog.instances,
            catalog.sizes,
            candidates(config.calibrate, contact=False),
            metric=F2(),
        )
        values = [found.scores[score] for score in SCORES]
        print(f"{config.name} | {name} | " + " | ".join(f"{value:.3f}" for value in values))
        yield values


def main():
    table = np.array([list(scores(Path(folder))) for folder in sys.argv[1:]])
    print("| weights and symmetries | all images | ship images | empty images |\n|---|---|---|---|")
    for index, name in enumerate(VARIANTS):
        mean, spread = (
            table[:, index].mean(axis=0),
            table[:, index].std(axis=0, ddof=len(table) > 1),
        )
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
