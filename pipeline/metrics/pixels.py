"""How many pixels the objects of two tables share, image by image, without drawing a mask.

Instances enter; counts leave, from which Dice, Jaccard and cosine coefficients follow.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.masks.rle import parse_rows

Integers = npt.NDArray[np.int64]


def count_pixels(truth: pd.DataFrame, predicted: pd.DataFrame, height: int, width: int) -> Integers:
    """Count the pixels of all objects of each image.

    Args:
        truth: Instances; masks of one image share no pixel.
        predicted: Instances of images of the truth, likewise.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.

    Returns:
        int64 (3, images): pixels in both, in the truth, in the prediction; images as they first
        appear in the truth, with zeros where there is no object.

    Raises:
        DataError: An RLE is illegal.
    """
    ids = pd.Index(truth.ImageId.unique())
    size = height * width
    starts, lengths = _on_one_axis(truth, ids, height, width)
    found, found_lengths = _on_one_axis(predicted, ids, height, width)
    # Predicted pixels before a place, at each start and end of a predicted run; linear between.
    places = np.stack([found, found + found_lengths], axis=1).ravel()
    before = np.cumsum(np.stack([np.zeros_like(found_lengths), found_lengths], axis=1))
    both = np.zeros(len(starts))
    if len(places):
        both = np.diff(np.interp([starts, starts + lengths], places, before), axis=0)[0]
    weights = (starts, both), (starts, lengths), (found, found_lengths)
    return np.stack(
        [np.bincount(at // size, weights=px, minlength=len(ids)) for at, px in weights]
    ).astype(np.int64)


def _on_one_axis(
    table: pd.DataFrame, ids: pd.Index, height: int, width: int
) -> tuple[Integers, Integers]:
    """Return starts, ascending, and lengths of all runs, the images one behind the other."""
    objects = table[table.EncodedPixels != ""]
    runs, owners = parse_rows(objects.EncodedPixels.tolist(), height, width)
    starts = ids.get_indexer(pd.Index(objects.ImageId))[owners] * (height * width) + runs[:, 0]
    order = np.argsort(starts, kind="stable")
    return starts[order], runs[order, 1]
