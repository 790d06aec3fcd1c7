"""Draw the README's picture from a finished run: image, probability, instances, truth.

python -m tests.bench.picture [--run demo] [--out tests/bench/example.jpg]
Takes the training images with the median, a high and a low F2 among those with several ships, by
the out-of-fold predictions; nothing is picked by hand.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.config.load import load_stored_config
from pipeline.data.catalog import Catalog
from pipeline.data.images import read_image
from pipeline.maps import map_path
from pipeline.masks.instances import read_instances
from pipeline.masks.rle import decode_labels
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects

# Colours that colour-blind people tell apart (Okabe and Ito), as RGB.
COLOURS = [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0)]
SCALE = 1.5


def paint(image_hwc: np.ndarray, labels_hw: np.ndarray) -> np.ndarray:
    """Lay each instance over a greyed image in a colour of its own."""
    grey = cv2.cvtColor(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2
    for label in range(1, labels_hw.max() + 1):
        grey[labels_hw == label] = COLOURS[(label - 1) % len(COLOURS)]
    return grey


def caption(text: str, width: int) -> np.ndarray:
    """Return a white strip with a line of text."""
    strip = np.full((26, width, 3), 255, np.uint8)
    cv2.putText(strip, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def main() -> None:
    """Choose, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="demo")
    parser.add_argument("--out", type=Path, default=Path("tests/bench/example.jpg"))
    arguments = parser.parse_args()
    run = Path("runs") / arguments.run
    config = load_stored_config(run / "config.yaml")
    catalog = Catalog.load(run / "data", config.data_folder, config.task)
    shape = catalog.sizes.common
    truth = catalog.objects()
    predicted = read_instances(run / "calibrate" / "oof_instances.csv")
    scores = match_objects(catalog.instances, predicted, catalog.sizes, F2()).images
    several = scores[scores.n_true >= 3].sort_values("f2")
    chosen = several.iloc[[round(q * (len(several) - 1)) for q in (0.9, 0.5, 0.1)]]
    found = predicted.groupby("ImageId").EncodedPixels.agg(list)
    rows = []
    for row in chosen.itertuples():
        image_hwc = read_image(catalog.train_path(row.ImageId), *shape)
        folds = (run / "predict" / "oof").glob("fold*")
        paths = (
            map_path(fold, row.ImageId, by_stem=old) for fold in folds for old in (False, True)
        )
        path = next(filter(Path.is_file, paths))
        prob_hw = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        instances = [text for text in found[row.ImageId] if text]
        panels = [
            image_hwc,
            cv2.applyColorMap(prob_hw, cv2.COLORMAP_VIRIDIS)[..., ::-1],
            paint(image_hwc, decode_labels(instances, *shape)),
            paint(image_hwc, decode_labels(truth[row.ImageId], *shape)),
        ]
        rows.append(np.hstack([cv2.resize(p, None, fx=SCALE, fy=SCALE) for p in panels]))
        print(f"{row.ImageId}: {row.n_true} ships, {row.n_predicted} predicted, F2 {row.f2:.3f}")
    width = rows[0].shape[1] // 4
    names = ("image", "ship probability", "predicted instances", "true instances")
    sheet = np.vstack([np.hstack([caption(name, width) for name in names]), *rows])
    cv2.imwrite(str(arguments.out), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{arguments.out}: {pd.Series(chosen.f2).round(3).tolist()}")


if __name__ == "__main__":
    main()
