"""Rings along edges of pixels enclose exactly these pixels; other rings what their centres say."""

import numpy as np
import pytest
import shapely
from drawn import masks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.annotations.polygons import inside, outline
from pipeline.masks.rle import decode_mask, encode_mask, encode_runs

pytestmark = pytest.mark.unit


@settings(deadline=None)
@given(masks)
def test_outlines_give_the_pixels_back(mask_hw):
    text = encode_mask(mask_hw)
    assume(text)
    rings = [ring for part in outline(text, *mask_hw.shape) for ring in part]
    assert encode_runs(inside(rings, *mask_hw.shape)) == text
    assert all(np.ptp(ring, axis=0).max() <= max(mask_hw.shape) for ring in rings)


@settings(deadline=None)
@given(arrays.arrays(np.float64, (5, 2), elements=st.floats(-4, 13, width=16)))
def test_a_pixel_belongs_to_the_ring_around_its_centre(ring):
    mask_hw = decode_mask(encode_runs(inside([ring], 8, 9)), 8, 9)
    lines = shapely.LinearRing(ring)
    polygon = shapely.make_valid(shapely.Polygon(ring))  # inside and outside alternate
    y, x = np.indices((8, 9)) + 0.5
    clear = shapely.distance(shapely.points(x, y), lines) > 1e-9
    expected_hw = shapely.contains_xy(polygon, x, y)
    np.testing.assert_array_equal(mask_hw[clear], expected_hw[clear])


def test_what_is_beyond_the_image_or_encloses_no_centre_is_nothing():
    assert not len(inside([[(-5, -5), (-1, -5), (-1, 20)]], 8, 9))
    assert not len(inside([[(1.6, 1.6), (2.4, 1.6), (2.4, 2.4)]], 8, 9))
    assert not len(inside([], 8, 9))
    assert inside([[(-5, -5), (50, -5), (50, 50), (-5, 50)]], 8, 9).tolist() == [[0, 72]]
