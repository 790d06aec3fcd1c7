"""What images hold: their objects, by number and size."""

import numpy as np
import pandas as pd

from pipeline.masks.rle import parse_rows

# From so many px on; about the quartiles of 6,000 masks: 115, 423, 1,492.
SIZE_CLASSES = {"tiny": 0, "small": 100, "medium": 400, "large": 1500}
COUNT_CLASSES = {"n1": 1, "n2": 2, "n3": 3, "n6": 6}  # from so many objects on
EMPTY = "empty"
ANY_SIDE_PX = 2**20  # an area does not depend on the frame it is read in


def contents_of(image_ids: pd.Series, truth: pd.DataFrame) -> pd.DataFrame:
    """Count what each image holds, such as objects of each size; and name its stratum.

    Args:
        image_ids: One per image.
        truth: Instances; rows of other images are ignored.

    Returns:
        A row for each image: numbers of images, empty_images, ship_images, ships and ships by
        size; and stratum, such as `empty` or `n1-small`.
    """
    objects = truth[(truth.EncodedPixels != "") & truth.ImageId.isin(image_ids)]
    runs, owners = parse_rows(objects.EncodedPixels.tolist(), ANY_SIDE_PX, ANY_SIDE_PX)
    areas_px = np.bincount(owners, weights=runs[:, 1], minlength=len(objects))
    sizes = np.searchsorted(list(SIZE_CLASSES.values()), areas_px, side="right") - 1
    image = pd.Index(image_ids).get_indexer(objects.ImageId)
    by_size = np.zeros((len(image_ids), len(SIZE_CLASSES)), np.int64)
    np.add.at(by_size, (image, sizes), 1)
    objects_each = by_size.sum(axis=1)
    count_names, size_names = np.array(list(COUNT_CLASSES)), np.array(list(SIZE_CLASSES))
    counts = np.searchsorted(list(COUNT_CLASSES.values()), objects_each, side="right") - 1
    largest = (by_size > 0) @ (2 ** np.arange(len(SIZE_CLASSES)))
    largest = np.log2(np.maximum(largest, 1)).astype(np.int64)
    strata = [f"{count_names[c]}-{size_names[s]}" for c, s in zip(counts, largest, strict=True)]
    table = pd.DataFrame({"images": np.ones(len(image_ids), np.int64)})
    table["empty_images"] = (objects_each == 0).astype(np.int64)
    table["ship_images"] = (objects_each > 0).astype(np.int64)
    table["ships"] = objects_each
    for number, name in enumerate(SIZE_CLASSES):
        table[f"ships_{name}"] = by_size[:, number]
    table["stratum"] = np.where(objects_each > 0, strata, EMPTY)
    return table
