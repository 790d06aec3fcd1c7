"""Windows hold what is possible and its margin, end where the network divides, and cost less."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference.regions import Box, Look, find_regions

pytestmark = pytest.mark.unit


def test_without_anything_possible_there_is_no_region():
    assert find_regions(torch.full((2, 40, 60), 0.49), Look(0.5, 8), 8) == [[], []]


def test_a_pixel_makes_a_window_around_its_cell():
    prob_nhw = torch.zeros(1, 160, 200)
    prob_nhw[0, 70, 199] = 0.5
    ((core, window),) = find_regions(prob_nhw, Look(0.5, 20), 32)[0]
    assert core == Box(64, 192, 80, 200)
    assert window == Box(32, 160, 128, 200)
    assert core.within(window) == Box(32, 32, 48, 40)


def test_windows_that_cost_more_than_the_image_are_the_image():
    prob_nhw = torch.zeros(1, 96, 96)
    prob_nhw[0, ::24, ::24] = 1
    image = Box(0, 0, 96, 96)
    assert find_regions(prob_nhw, Look(0.5, 16), 32) == [[(image, image)]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 249), st.integers(0, 299)), max_size=12),
    st.integers(0, 70),
    st.sampled_from([8, 16, 32]),
    st.sampled_from([1, 64]),
)
def test_every_possible_pixel_lies_in_a_core_with_its_margin(pixels, margin_px, stride, side_px):
    prob_nhw = torch.zeros(1, 250, 300)
    for row, column in pixels:
        prob_nhw[0, row, column] = 0.7
    (regions,) = find_regions(prob_nhw, Look(0.7, margin_px), stride, side_px)
    covered = torch.zeros(250, 300, dtype=torch.bool)
    for core, window in regions:
        covered[core.slices] = True
        for side, end in enumerate(prob_nhw.shape[1:]):
            first, after = window[side], window[side + 2]
            assert first <= max(core[side] - margin_px, 0)
            assert after >= min(core[side + 2] + margin_px, end)
            assert first % stride == 0
            assert after % stride == 0 or after == end
            assert (after - first) % side_px == 0 or after == end
    assert covered[prob_nhw[0] > 0].all()
    assert sum(window.area_px for _, window in regions) <= 250 * 300
