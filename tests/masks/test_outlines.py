"""Outlines go along the edges of pixels: they enclose exactly the pixels of their ship."""

import json

import cv2
import numpy as np
import pytest
import shapely
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


def as_shapes(labels_hw):
    """Read each object's geometry as another library does."""
    features = to_geojson(polygons(labels_hw), [{}] * labels_hw.max(initial=0))["features"]
    return [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]


@settings(deadline=None, max_examples=300)
@given(arrays.arrays(np.int32, (7, 9), elements=st.integers(0, 2)))
def test_the_geometry_of_any_labels_is_valid_and_of_their_area(labels_hw):
    for label, shape in enumerate(as_shapes(labels_hw), start=1):
        assert shapely.is_valid_reason(shape) == "Valid Geometry"
        assert shape.area == (labels_hw == label).sum()


@pytest.mark.parametrize(
    ("picture", "parts", "holes"),
    [
        (["#.", ".#"], 2, 0),
        ([".#.", "#.#", ".#."], 4, 0),  # the four meet at the corners of a hole
        (["###", "#.#", "##."], 1, 1),  # the hole meets the outside at a corner
        (["####", "#.##", "##.#", "####"], 1, 2),  # two holes meet
        (["####", "#..#", "#.#.", "####"], 1, 1),
        (["#####", "#...#", "#.#.#", "#...#", "#####"], 2, 1),  # an island
    ],
)
def test_parts_that_touch_at_a_corner_are_polygons_of_their_own(picture, parts, holes):
    labels_hw = np.array([[sign == "#" for sign in row] for row in picture], np.int32)
    (shape,) = as_shapes(labels_hw)
    assert shape.is_valid
    assert shape.area == labels_hw.sum()
    assert len(shape.geoms) == parts
    assert sum(len(polygon.interiors) for polygon in shape.geoms) == holes


def test_large_noise_has_valid_outlines():
    random = np.random.default_rng(0)
    for share in (0.3, 0.5, 0.7):
        labels_hw = (random.random((120, 90)) < share).astype(np.int32)
        (shape,) = as_shapes(labels_hw)
        assert shape.is_valid
        assert shape.area == labels_hw.sum()


def test_a_single_pixel_has_four_corners():
    labels_hw = np.zeros((4, 5), np.int32)
    labels_hw[2, 3] = 1
    (((ring,),),) = polygons(labels_hw)
    assert sorted(map(tuple, ring.tolist())) == [(3, 2), (3, 3), (4, 2), (4, 3)]


def test_no_ship_has_no_outline():
    assert polygons(np.zeros((3, 3), np.int32)) == []
    assert to_geojson([], [])["features"] == []


def test_geojson_closes_its_rings_and_keeps_what_is_known():
    labels_hw = np.zeros((20, 20), np.int32)
    cv2.rectangle(labels_hw, (3, 4), (10, 8), 1, -1)
    (feature,) = to_geojson(polygons(labels_hw), [{"area_px": 40}])["features"]
    assert feature["properties"] == {"area_px": 40}
    ((ring,),) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert {tuple(corner) for corner in ring} == {(3, 4), (11, 4), (11, 9), (3, 9)}
