"""One normalisation, one pad rule, any size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.networks.frame import MEAN_255, STD_255, normalise, pad_to_multiple

pytestmark = pytest.mark.unit


def test_normalise_gives_imagenets_mean_and_deviation():
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN_255, STD_255))
    assert torch.allclose(normalise(mean[None], mean, std), torch.zeros(1, 3, 1, 1))
    assert torch.allclose(normalise((mean + std)[None], mean, std), torch.ones(1, 3, 1, 1))
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), mean, std)
    assert black.dtype == torch.float32
    assert torch.allclose(black.flatten(), torch.tensor([-2.1179, -2.0357, -1.8044]), atol=1e-4)


def test_bytes_and_floats_are_the_same_image():
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN_255, STD_255))
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert normalise(images, mean, std).equal(normalise(images.float(), mean, std))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 8, 32]))
def test_padding_is_the_mirror_that_numpy_calls_reflect(height, width, multiple):
    images = np.arange(height * width, dtype=np.int32).reshape(1, 1, height, width)
    missing = [(0, -height % multiple), (0, -width % multiple)]
    expected = np.pad(images, [(0, 0), (0, 0), *missing], mode="reflect")
    padded = pad_to_multiple(torch.from_numpy(images), multiple)
    assert np.array_equal(padded.numpy(), expected)


def test_a_fitting_image_is_not_copied():
    images = torch.zeros(1, 3, 64, 32, dtype=torch.uint8)
    assert pad_to_multiple(images, 32) is images
