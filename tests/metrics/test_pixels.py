import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.masks.rle import encode_mask
from pipeline.metrics.pixels import count_pixels

pytestmark = pytest.mark.unit

SHAPE = (5, 7)
IMAGES = 3


def instances(labels_nhw):
    rows = []
    for number, labels_hw in enumerate(labels_nhw):
        ships = [(labels_hw == ship).astype(np.uint8) for ship in (1, 2)]
        texts = [encode_mask(mask_hw) for mask_hw in ships if mask_hw.any()]
        rows += [(f"{IMAGES - number}.jpg", text) for text in texts or [""]]
    return pd.DataFrame(rows, columns=["ImageId", "EncodedPixels"])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.7]), st.sampled_from([0.0, 0.5]))
def test_counts_are_those_of_drawn_masks(seed, true_share, found_share):
    rng = np.random.default_rng(seed)
    sides = []
    for share in (true_share, found_share):
        ships = rng.integers(1, 3, (IMAGES, *SHAPE)).astype(np.int32)
        sides.append(ships * (rng.random((IMAGES, *SHAPE)) < share))
    true, found = (labels > 0 for labels in sides)
    expected = [mask.sum(axis=(1, 2)) for mask in (true & found, true, found)]
    tables = [instances(labels) for labels in sides]
    # The order of the prediction's rows says nothing.
    tables[1] = tables[1].sample(frac=1, random_state=0)
    assert (count_pixels(*tables, *SHAPE) == expected).all()


def test_images_without_ships_count_nothing():
    empty = pd.DataFrame({"ImageId": ["a", "b"], "EncodedPixels": ""})
    assert count_pixels(empty, empty, *SHAPE).tolist() == [[0, 0]] * 3
