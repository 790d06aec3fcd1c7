"""Outlines go along the edges of pixels: they enclose exactly the pixels of their ship."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.masks.outlines import polygons, to_geojson

pytestmark = pytest.mark.unit


def signed_area(ring):
    x, y = ring[:, 0], ring[:, 1]
    return 0.5 * float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def filled(parts, shape):
    """Draw polygons by the parity of the edges to the left of each pixel's centre."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for ring in (ring for part in parts for ring in part):
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert x0 == x1 or y0 == y1
            if x0 == x1:
                crossings[min(y0, y1) : max(y0, y1), x0] += 1
    return crossings[:, :-1].cumsum(axis=1) % 2


@settings(deadline=None)
@given(arrays.arrays(np.int32, (7, 9), elements=st.integers(0, 2)))
def test_the_outlines_of_any_labels_enclose_exactly_their_pixels(labels_hw):
    ships = polygons(labels_hw)
    assert len(ships) == labels_hw.max(initial=0)
    for label, parts in enumerate(ships, start=1):
        np.testing.assert_array_equal(filled(parts, labels_hw.shape), labels_hw == label)
        area = sum(signed_area(ring) for part in parts for ring in part)
        assert area == (labels_hw == label).sum()
        assert all(signed_area(part[0]) > 0 for part in parts)
        assert all(signed_area(hole) < 0 for part in parts for hole in part[1:])


def test_a_single_pixel_has_four_corners():
    labels_hw = np.zeros((4, 5), np.int32)
    labels_hw[2, 3] = 1
    (((ring,),),) = polygons(labels_hw)
    assert sorted(map(tuple, ring.tolist())) == [(3, 2), (3, 3), (4, 2), (4, 3)]


def test_no_ship_has_no_outline():
    assert polygons(np.zeros((3, 3), np.int32)) == []
    assert to_geojson(np.zeros((3, 3), np.int32), [])["features"] == []


def test_geojson_closes_its_rings_and_keeps_what_is_known():
    labels_hw = np.zeros((20, 20), np.int32)
    cv2.rectangle(labels_hw, (3, 4), (10, 8), 1, -1)
    (feature,) = to_geojson(labels_hw, [{"area_px": 40}])["features"]
    assert feature["properties"] == {"area_px": 40}
    ((ring,),) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert {tuple(corner) for corner in ring} == {(3, 4), (11, 4), (11, 9), (3, 9)}
