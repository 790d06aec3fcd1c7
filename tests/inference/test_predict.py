"""Probabilities become bytes, or an error that names the image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.inference.predict import as_maps
from pipeline.inference.tta import Chances

pytestmark = pytest.mark.unit

PATHS = [Path("a.jpg"), Path("b.jpg"), Path("c.jpg")]


def test_probabilities_become_the_maps_of_each_image():
    one, two = as_maps(Chances(torch.tensor([[[[0.0, 0.5]]], [[[1.0, 0.2]]]]), None), PATHS)
    assert np.array_equal(one.prob_hw, [[0, 128]])
    assert np.array_equal(two.prob_hw, [[255, 51]])
    assert one.contact_hw is None
    (both,) = as_maps(Chances(torch.tensor([[[[1.0]], [[0.2]]]]), None), PATHS[:1])
    assert (both.prob_hw.item(), both.contact_hw.item()) == (255, 51)
    assert both.prob_hw.dtype == both.contact_hw.dtype == np.uint8


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_and_the_image_named(wrong):
    mean_nchw = torch.zeros(3, 2, 4, 4)
    mean_nchw[1, 1, 2, 3] = wrong
    with pytest.raises(ArtifactError, match=r"b\.jpg: expected probabilities, got NaN"):
        list(as_maps(Chances(mean_nchw, None), PATHS))


def test_the_image_heads_answer_goes_with_the_maps():
    maps_nchw, image = torch.zeros(2, 1, 1, 2), torch.tensor([0.25, 1 / 3])
    one, two = as_maps(Chances(maps_nchw, image), PATHS)
    assert (one.image_prob, two.image_prob) == (0.25, 0.333333)
    with pytest.raises(ArtifactError, match="expected probabilities, got NaN"):
        list(as_maps(Chances(maps_nchw, image / torch.tensor([1.0, 0.0])), PATHS))
