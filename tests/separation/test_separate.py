"""Maps into ships, against scipy's labelling and a loop over components."""

from dataclasses import replace

import numpy as np
import pytest
from annotations import separate as separate_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.data.contact import contact
from pipeline.errors import ArtifactError, DataError
from pipeline.maps import ImageMaps
from pipeline.separation.separate import MAX_COMPONENTS, Separation

pytestmark = pytest.mark.unit

MAPS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 99, 100, 101, 255]),
)


def separate(prob_hw, threshold, connectivity, min_area_px):
    how = Separation("components", threshold, connectivity)
    return separate_maps(ImageMaps(prob_hw), how, min_area_px)


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
    with pytest.raises(ValueError, match="threshold: expected"):
        separate(np.zeros((2, 2), np.uint8), 0, 8, 0)
    with pytest.raises(ValueError, match="connectivity: expected"):
        separate(np.zeros((2, 2), np.uint8), 9, 6, 0)


def touching():
    """Two ships side by side, a third apart; and the contact of the first two."""
    labels_hw = np.zeros((14, 24), np.int32)
    labels_hw[2:12, 2:7], labels_hw[4:10, 7:13], labels_hw[3:5, 18:22] = 1, 2, 3
    return labels_hw, contact(labels_hw, 1)


def perfect(labels_hw, contact_hw):
    return ImageMaps(255 * (labels_hw > 0).astype(np.uint8), 255 * contact_hw.astype(np.uint8))


CONTACT = Separation("contact", 128, 8, seed=128)


def test_contact_splits_what_touches():
    labels_hw, contact_hw = touching()
    found_hw = separate_maps(perfect(labels_hw, contact_hw), CONTACT, 0)
    assert len(np.unique(np.stack([labels_hw, found_hw]).reshape(2, -1), axis=1).T) == 4
    plain = Separation("components", 128, 8)
    assert separate_maps(perfect(labels_hw, contact_hw), plain, 0).max() == 2


def test_distance_splits_at_a_waist():
    prob_hw = np.zeros((30, 60), np.uint8)
    prob_hw[5:25, 5:25], prob_hw[5:25, 33:53], prob_hw[13:16, 25:33] = 255, 255, 255
    found_hw = separate_maps(ImageMaps(prob_hw), Separation("distance", 128, 8, seed=80), 0)
    assert found_hw.max() == 2
    assert found_hw[6, 6] != found_hw[6, 50]
    assert ((found_hw > 0) == (prob_hw > 0)).all()


def test_a_small_part_joins_its_neighbour_or_falls():
    labels_hw, contact_hw = touching()
    merging = replace(CONTACT, merge_below_px=40)
    maps = perfect(labels_hw, contact_hw)
    assert separate_maps(maps, merging, 0).max() == 2
    assert separate_maps(maps, CONTACT, 40).max() == 1


def test_rules_of_another_channel_are_refused():
    labels_hw, _ = touching()
    maps = ImageMaps(255 * (labels_hw > 0).astype(np.uint8))
    with pytest.raises(ArtifactError, match=r"touching-border channel, and the maps have none"):
        separate_maps(maps, CONTACT, 0)


WAYS = [
    Separation(method, 100, 8, seed=seed, merge_below_px=merge)
    for method, seed in (("contact", 90), ("contact", 1), ("distance", 60))
    for merge in (0, 3)
]


@settings(deadline=None)  # the first to flood imports scikit-image
@given(MAPS, st.integers(0, 2**32 - 1), st.sampled_from(WAYS))
def test_parts_are_connected_and_cover_the_ship_pixels_once(prob_hw, seed, how):
    contact_hw = np.random.default_rng(seed).choice([0, 0, 200], prob_hw.shape).astype(np.uint8)
    maps = ImageMaps(prob_hw, contact_hw)
    labels_hw = separate_maps(maps, how, 0)
    assert np.array_equal(labels_hw > 0, prob_hw >= 100)
    plain_hw = separate(prob_hw, 100, 8, 0)
    for label in range(1, labels_hw.max() + 1):
        assert ndimage.label(labels_hw == label, np.ones((3, 3)))[1] == 1
        assert len(np.unique(plain_hw[labels_hw == label])) == 1


def test_more_parts_than_16_bits_hold():
    prob_hw = np.full((512, 512), 255, np.uint8)
    contact_hw = prob_hw.copy()
    contact_hw[::2, ::2] = 0
    with pytest.raises(DataError, match=r"65,536 connected components"):
        separate_maps(ImageMaps(prob_hw, contact_hw), CONTACT, 0)


def test_maps_of_two_sizes_are_refused():
    maps = ImageMaps(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8))
    with pytest.raises(ValueError, match=r"contact_hw: expected \(4, 5\), got \(5, 4\)"):
        separate_maps(maps, CONTACT, 0)


def test_a_blob_without_a_seed_stays_whole():
    prob_hw = np.full((6, 8), 200, np.uint8)
    assert (separate_maps(ImageMaps(prob_hw, prob_hw), CONTACT, 0) == 1).all()
