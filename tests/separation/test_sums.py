"""Sums over segments against a plain reading of their definition, one mask at a time."""

import numpy as np
import pytest

from pipeline.maps import ImageMaps
from pipeline.separation.foreground import foreground_of, pack, unpack
from pipeline.separation.separate import Separation, find_components
from pipeline.separation.sums import sum_segments

pytestmark = pytest.mark.unit

THRESHOLDS = (60, 120, 200)
FAMILIES = {
    "components": {"method": "components", "connectivity": 4},
    "parts side by side": {"method": "distance", "connectivity": 8, "seed": 90},
}


def blobs(seed, shape=(60, 90)):
    rng = np.random.default_rng(seed)
    prob_hw = np.zeros(shape)
    for _ in range(12):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        apart = np.hypot(rows - rng.integers(0, shape[0]), columns - rng.integers(0, shape[1]))
        prob_hw = np.maximum(prob_hw, rng.uniform(80, 255) * np.exp(-((apart / 5) ** 2)))
    return ImageMaps(np.round(prob_hw).astype(np.uint8))


def border(mask_hw, prob_hw):
    """Number of a mask's sides to other pixels, and the map on this side and beyond."""
    sides = [(np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])]
    pairs = [pair for one, other in sides for pair in ((one, other), (other, one))]
    open_sides = [(mask_hw[one] & ~mask_hw[other], one, other) for one, other in pairs]
    return (
        sum(int(is_open.sum()) for is_open, _, _ in open_sides),
        sum(int(prob_hw[one][is_open].sum()) for is_open, one, _ in open_sides),
        sum(int(prob_hw[other][is_open].sum()) for is_open, _, other in open_sides),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_sum_is_that_of_the_pixels(family, seed):
    maps = blobs(seed)
    cuts = [Separation(threshold=threshold, **FAMILIES[family]) for threshold in THRESHOLDS]
    foreground = foreground_of(maps, THRESHOLDS[0])
    assert foreground.maps.prob_hw.size < maps.prob_hw.size
    sums = sum_segments(foreground, [find_components(foreground.maps, cut) for cut in cuts])
    prob_hw = maps.prob_hw.astype(int)
    before_hw, number = np.full(prob_hw.shape, -1), 0
    for index, cut in enumerate(cuts):
        found = find_components(maps, cut)
        segment_hw = np.full(prob_hw.shape, -1)
        segment_hw.ravel()[found.pixels] = found.labels - 1 + number
        for _ in found.area_px:
            mask_hw = segment_hw == number
            row, column = np.nonzero(mask_hw)
            brightest = np.flatnonzero(mask_hw.ravel() & (prob_hw.ravel() == sums.maximum[number]))
            assert sums.cut[number] == index
            assert sums.maximum[number] == prob_hw[mask_hw].max()
            assert sums.parent[number] == before_hw.ravel()[brightest[0]]
            assert sums.prob[number] == prob_hw[mask_hw].sum()
            assert sums.prob_square[number] == (prob_hw[mask_hw] ** 2).sum()
            moments = row, column, row**2, column**2, row * column
            assert sums.moments[:, number].tolist() == [values.sum() for values in moments]
            at_edge = np.isin(row, (0, prob_hw.shape[0] - 1)) | np.isin(
                column, (0, prob_hw.shape[1] - 1)
            )
            assert (sums.at_edge[number] > 0) == at_edge.any()
            sides = sums.edges[number], sums.inner[number], sums.outer[number]
            assert sides == border(mask_hw, prob_hw)
            number += 1
        before_hw = segment_hw
    assert number == len(sums.cut) > 15


def test_no_cut_has_no_sums():
    sums = sum_segments(foreground_of(blobs(0), 60), [])
    assert len(sums.cut) == len(sums.parent) == len(sums.edges) == 0
    assert sums.moments.shape == (5, 0)


def test_a_packed_foreground_comes_back():
    maps = ImageMaps(blobs(1).prob_hw, blobs(2).prob_hw, 0.25)
    kept, again = foreground_of(maps, 60), unpack(pack(maps, 60))
    for name in ("rows", "columns", "shape"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(again, name))
    for name, value in vars(kept.maps).items():
        np.testing.assert_array_equal(value, getattr(again.maps, name))
    assert pack(None, 60) is None
    assert pack(ImageMaps(np.full((3, 4), 59, np.uint8)), 60) is None
