"""Symmetries: undoing what was done gives the image back, and the average is the average."""

import pytest
import torch

from pipeline.inference.tta import SYMMETRIES, mean_probability
from pipeline.networks.build import Prediction

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 3, 5)])
def test_undo_inverts_apply(name, shape):
    images = torch.rand(shape)
    for symmetry in SYMMETRIES[name]:
        assert torch.equal(symmetry.undo(symmetry.apply(images)), images)


def test_d4_has_the_eight_different_symmetries():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    seen = {tuple(symmetry.apply(image).flatten().tolist()) for symmetry in SYMMETRIES["d4"]}
    assert len(seen) == len(SYMMETRIES["d4"]) == 8


def test_the_mean_is_taken_over_probabilities_turned_back():
    images = torch.randn(2, 3, 4, 6)
    position = torch.linspace(-3, 3, 6)

    def network(turned):  # depends on the direction, so that averaging changes it
        return Prediction(turned[:, :1] + torch.linspace(-3, 3, turned.shape[3]), None)

    mean = mean_probability(network, images, SYMMETRIES["flips"], "object")
    plain = (images[:, :1] + position).sigmoid()
    mirrored = (images[:, :1] - position).sigmoid()
    assert mean.image is None
    assert torch.allclose(mean.maps_nchw, (plain + mirrored) / 2, atol=1e-6)
    once = mean_probability(network, images, SYMMETRIES["none"], "object")
    assert torch.equal(once.maps_nchw, plain)


def test_an_equivariant_network_is_left_as_it_is():
    images = torch.randn(1, 3, 5, 5)
    mean = mean_probability(
        lambda turned: Prediction(turned[:, :1] * 2, None), images, SYMMETRIES["d4"], "object"
    )
    assert torch.allclose(mean.maps_nchw, (images[:, :1] * 2).sigmoid(), atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (1, 3, 4, 7)])
@pytest.mark.parametrize("at_once", [2, 3, 8])
def test_symmetries_in_one_batch_answer_as_one_by_one(shape, at_once):
    images = torch.rand(shape)
    sizes = []

    def network(turned):
        sizes.append(len(turned) // shape[0])
        across = torch.linspace(-3, 3, turned.shape[3])
        return Prediction(turned[:, :1] + across, turned.amax((1, 2, 3)))

    alone = mean_probability(network, images, SYMMETRIES["d4"], "object")
    together = mean_probability(network, images, SYMMETRIES["d4"], "object", at_once=at_once)
    assert torch.allclose(together.maps_nchw, alone.maps_nchw, atol=1e-6)
    assert torch.allclose(together.image, alone.image, atol=1e-6)
    assert max(sizes[8:]) == min(at_once, 8 if shape[2] == shape[3] else 4)
