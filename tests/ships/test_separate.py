"""Maps into ships, against scipy's labelling and a loop over components."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.errors import DataError
from pipeline.ships.separate import MAX_COMPONENTS, separate

pytestmark = pytest.mark.unit

MAPS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 99, 100, 101, 255]),
)


def reference(prob_hw, threshold, connectivity, min_area_px):
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels_hw, count = ndimage.label(prob_hw >= threshold, structure)
    ships = [labels_hw == label for label in range(1, count + 1)]
    return {ship.tobytes() for ship in ships if ship.sum() >= min_area_px}


@given(MAPS, st.sampled_from([1, 100, 101, 255]), st.sampled_from([4, 8]), st.integers(0, 6))
def test_ships_are_the_components_large_enough(prob_hw, threshold, connectivity, min_area_px):
    labels_hw = separate(prob_hw, threshold, connectivity, min_area_px)
    assert labels_hw.dtype == np.int32
    assert labels_hw.shape == prob_hw.shape
    ships = {(labels_hw == label).tobytes() for label in range(1, labels_hw.max() + 1)}
    assert ships == reference(prob_hw, threshold, connectivity, min_area_px)
    assert len(ships) == labels_hw.max()


def test_the_least_value_of_a_ship_is_the_threshold():
    prob_hw = np.array([[127, 128, 129]], np.uint8)
    assert separate(prob_hw, 128, 8, 0).tolist() == [[0, 1, 1]]


def test_pixels_that_meet_at_a_corner():
    prob_hw = np.array([[255, 0], [0, 255]], np.uint8)
    assert separate(prob_hw, 1, 8, 0).max() == 1
    assert separate(prob_hw, 1, 4, 0).max() == 2


@pytest.mark.parametrize("shape", [(0, 0), (5, 7)])
def test_empty_map(shape):
    labels_hw = separate(np.zeros(shape, np.uint8), 1, 8, 0)
    assert labels_hw.shape == shape
    assert not labels_hw.any()


def test_full_map_is_one_ship():
    assert (separate(np.full((5, 7), 255, np.uint8), 255, 4, 35) == 1).all()
    assert not separate(np.full((5, 7), 255, np.uint8), 255, 4, 36).any()


def test_more_components_than_16_bits_hold():
    side = 2 * 256
    prob_hw = np.zeros((side, side), np.uint8)
    prob_hw[::2, ::2] = 255
    with pytest.raises(DataError, match=r"65,536 connected components; expected at most 65,534"):
        separate(prob_hw, 128, 8, 0)
    prob_hw[0, :3:2] = 0
    assert separate(prob_hw, 128, 8, 0).max() == MAX_COMPONENTS


def test_what_is_no_map_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        separate(np.full((2, 2), np.nan), 128, 8, 0)
    with pytest.raises(ValueError, match="uint8"):
        separate(np.zeros((2, 2, 1), np.uint8), 128, 8, 0)
    with pytest.raises(ValueError, match="threshold 0"):
        separate(np.zeros((2, 2), np.uint8), 0, 8, 0)
    with pytest.raises(ValueError, match="connectivity 6"):
        separate(np.zeros((2, 2), np.uint8), 9, 6, 0)
