"""What the maps of some layers say: are their probabilities true, and how sure is each object.

Some layers are drawn by lot and their maps read: reading all of a competition's would take longer
than all the rest of the page.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from pipeline.errors import ArtifactError
from pipeline.maps import MAX_LEVEL, ProbabilityMap, map_path
from pipeline.masks.rle import decode_labels
from pipeline.metrics.metric import Integers
from pipeline.report.outcomes import LAYER, Outcomes
from pipeline.report.records import Records, texts_of
from pipeline.seeds import generator

LAYERS = 600

Maps = Callable[[str, str], ProbabilityMap | None]


@dataclass(frozen=True)
class Sample:
    """What was found in some layers.

    Attributes:
        pixels: Number of pixels of each level, int64 (256,), in layers whose map was kept.
        true_pixels: Those of them that are of a true object.
        objects: Predicted objects: `confidence`, the mean probability of its pixels, and `hit`,
            whether its IoU with a true one is above 0.5.
        n_true: True objects.
        layers: How many layers they are.
    """

    pixels: Integers
    true_pixels: Integers
    objects: pd.DataFrame
    n_true: int
    layers: int


def maps_of(records: Records) -> Maps:
    """Return what reads an image's out-of-fold map of a class ("" for the highest of all).

    It returns None where none was kept.
    """
    fold = records.read("split/folds.csv").set_index("ImageId").fold
    indexes = records.folds("predict/oof", "index.csv")
    sizes, classes = records.mask_sizes(), records.task.classes

    def read(image_id: str, class_id: str) -> ProbabilityMap | None:
        folder = records.folder / "predict" / "oof" / f"fold{fold[image_id]}"
        by_stem = "sha256" not in indexes.get(int(fold[image_id]), ())
        path = map_path(folder, image_id, by_stem=by_stem)
        strips = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        height, width = sizes[image_id]
        if strips is None or strips.shape[1] != width or len(strips) < len(classes) * height:
            return None
        # The classes' maps lie one below the other, maps of contact below them all.
        maps = strips[: len(classes) * height].reshape(-1, height, width)
        chosen: ProbabilityMap = maps[classes.index(class_id)] if class_id else maps.max(axis=0)
        return chosen

    return read


def draw_sample(records: Records, outcomes: Outcomes) -> Sample:
    """Look at the maps of layers drawn by lot."""
    layers = outcomes.layers
    count = min(LAYERS, len(layers))
    chosen = np.sort(generator(0, "report", "maps").choice(len(layers), count, replace=False))
    maps, sizes = maps_of(records), outcomes.matches.sizes
    truth, predicted = texts_of(records.truth()), texts_of(records.predicted())
    ends = np.cumsum([0, *layers.n_predicted])
    pixels, true_pixels = np.zeros((2, MAX_LEVEL + 1), np.int64)
    objects = [pd.DataFrame({"confidence": [], "hit": []})]
    for place in chosen:
        start, end = ends[place : place + 2]
        layer = tuple(layers.loc[place, LAYER])
        levels_hw = maps(*layer)
        if levels_hw is None and start == end:
            continue
        if levels_hw is None:
            raise ArtifactError(
                f"{records.folder}/predict: the map of {' '.join(layer)} is missing or damaged, "
                "though objects were found in it. Run the stage `predict` again with --restart."
            )
        true_hw = decode_labels(truth.get(layer, ()), *sizes[layer[0]]) > 0
        pixels += _levels(levels_hw)
        true_pixels += _levels(levels_hw[true_hw])
        labels_hw = decode_labels(predicted.get(layer, ()), *sizes[layer[0]])
        of_label = np.bincount(labels_hw.ravel(), levels_hw.ravel(), end - start + 1)[1:]
        rows = outcomes.matches.predicted_ships.iloc[start:end]
        confidence = of_label / rows.area_px.to_numpy() / MAX_LEVEL
        objects.append(pd.DataFrame({"confidence": confidence, "hit": rows.hits.to_numpy() > 0}))
    n_true = int(layers.n_true.to_numpy()[chosen].sum())
    return Sample(pixels, true_pixels, pd.concat(objects), n_true, count)


def _levels(levels: ProbabilityMap) -> Integers:
    return np.bincount(levels.ravel(), minlength=MAX_LEVEL + 1)
