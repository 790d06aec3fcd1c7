"""Windows cover an image of any size, and blending them leaves no seam."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference.tta import Chances
from pipeline.inference.windows import predict_windows

pytestmark = pytest.mark.unit


def brightness(images_nchw):
    """A "network" that sees each pixel alone: the red channel is the probability."""
    return Chances(images_nchw[:, :1].float() / 255, images_nchw.amax((1, 2, 3)) / 255)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40))
def test_what_depends_on_a_pixel_alone_comes_out_as_it_is(rows, columns, height, width):
    image_hwc = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    mean = predict_windows(brightness, image_hwc, height=height, width=width, batch_size=3)
    expected = torch.from_numpy(image_hwc[..., 0] / 255).float()
    torch.testing.assert_close(mean.maps_nchw[0, 0], expected, atol=1e-5, rtol=0)
    assert mean.image.item() == pytest.approx(image_hwc.max() / 255)


def test_an_image_of_a_window_or_less_is_seen_once_and_whole():
    seen = []

    def network(images_nchw):
        seen.append(tuple(images_nchw.shape))
        return brightness(images_nchw)

    for shape in ((32, 48, 3), (5, 7, 3)):
        predict_windows(network, np.zeros(shape, np.uint8), height=32, width=48, batch_size=4)
    assert seen == [(1, 3, 32, 48), (1, 3, 5, 7)]


def test_neighbours_that_disagree_pass_into_each_other_without_a_step():
    calls = iter(range(100))

    def network(images_nchw):
        maps = [torch.full((1, 40, 40), float(next(calls) % 2)) for _ in images_nchw]
        return Chances(torch.stack(maps), None)

    image_hwc = np.zeros((40, 130, 3), np.uint8)
    prob_hw = predict_windows(network, image_hwc, height=40, width=40, batch_size=2).maps_nchw[0, 0]
    assert prob_hw.min() == 0
    assert prob_hw.max() == 1
    assert prob_hw.diff(dim=1).abs().max() < 0.25
