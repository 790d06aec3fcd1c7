"""How sure a network is of an image, against counting pixel by pixel."""

import numpy as np
import pytest

from pipeline.maps import ImageMaps
from pipeline.selection.certainty import certainty

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seed", range(5))
def test_the_iou_is_that_of_the_masks_at_both_levels(seed):
    random = np.random.default_rng(seed)
    maps = {name: ImageMaps(random.integers(0, 256, (9, 7), dtype=np.uint8)) for name in "abc"}
    found = {"a": np.ones((9, 7), np.int32), "b": np.eye(9, 7, dtype=np.int32), "c": None}
    sure = certainty(maps, found, 0.3, 0.7)
    ious = []
    for name in "ab":
        pixels = [*maps[name].prob_hw.ravel() / 255]
        masks = [{i for i, p in enumerate(pixels) if p >= level - 1e-9} for level in (0.3, 0.7)]
        ious.append(len(masks[0] & masks[1]) / len(masks[0] | masks[1]))
    assert sure.iou == pytest.approx(min(ious), abs=0.03)  # a level is a whole number of 255
    assert sure.max_probability == maps["c"].prob_hw.max() / 255
    assert sure.suffices(sure.iou, sure.max_probability)
    assert not sure.suffices(sure.iou + 0.01, 1.0)
    assert not sure.suffices(0.0, sure.max_probability - 0.01)


def test_an_image_without_objects_has_no_iou():
    sure = certainty({"a": ImageMaps(np.full((3, 3), 51, np.uint8))}, {"a": None}, 0.3, 0.7)
    assert (sure.iou, sure.max_probability) == (None, 0.2)
    assert sure.suffices(1.0, 0.2)
    assert not sure.suffices(0.0, 0.19)
