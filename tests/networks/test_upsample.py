"""The ways up, on one example: a 2x2 map [[1, 2], [3, 4]] becomes 4x4."""

import pytest
import torch
from torch.nn import functional

from pipeline.networks.upsample import (
    Upsample,
    bed_of_nails,
    bilinear,
    bilinear_kernel,
    max_unpool,
    nearest,
)

pytestmark = pytest.mark.unit

SMALL = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


def grid(*rows):
    return torch.tensor([[[list(map(float, row)) for row in rows]]])


def test_nearest_neighbour():
    assert nearest(SMALL, 2).equal(grid((1, 1, 2, 2), (1, 1, 2, 2), (3, 3, 4, 4), (3, 3, 4, 4)))


def test_bed_of_nails():
    nails = grid((1, 0, 2, 0), (0, 0, 0, 0), (3, 0, 4, 0), (0, 0, 0, 0))
    assert bed_of_nails(SMALL, 2).equal(nails)


def test_bilinear():
    expected = grid(
        (1.0, 1.25, 1.75, 2.0),
        (1.5, 1.75, 2.25, 2.5),
        (2.5, 2.75, 3.25, 3.5),
        (3.0, 3.25, 3.75, 4.0),
    )
    assert torch.allclose(bilinear(SMALL, 2), expected)


def test_max_unpooling_returns_values_to_where_the_maxima_were():
    large = grid((1, 2, 6, 3), (3, 5, 2, 1), (1, 2, 2, 1), (7, 3, 4, 8))
    pooled, indices = functional.max_pool2d(large, 2, return_indices=True)
    assert pooled.equal(grid((5, 6), (7, 8)))
    expected = grid((0, 0, 2, 0), (0, 1, 0, 0), (0, 0, 0, 0), (3, 0, 0, 4))
    assert max_unpool(SMALL, indices).equal(expected)


def test_transposed_convolution_adds_scaled_kernels():
    up = Upsample("transposed", 1, 1, kernel_px=2)
    kernel = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    with torch.no_grad():
        up.after.weight.copy_(kernel.view(1, 1, 2, 2))
        up.after.bias.zero_()
    expected = torch.kron(SMALL[0, 0], kernel)
    assert up(SMALL)[0, 0].equal(expected)


def test_transposed_convolution_is_the_convolution_run_backwards():
    up = Upsample("transposed", 1, 1, kernel_px=4)
    with torch.no_grad():
        up.after.weight.copy_(torch.randn(1, 1, 4, 4))
        up.after.bias.zero_()
    large = torch.randn(1, 1, 4, 4, requires_grad=True)
    functional.conv2d(large, up.after.weight, stride=2, padding=1).backward(SMALL)
    assert torch.allclose(up(SMALL), large.grad, atol=1e-6)


def test_the_bilinear_kernel_is_the_papers():
    expected = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.allclose(bilinear_kernel(4), expected[:, None] * expected[None])
    assert torch.allclose(bilinear_kernel(3)[1], torch.tensor([0.5, 1.0, 0.5]))


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_a_transposed_convolution_starts_as_bilinear_interpolation(factor):
    x_nchw = torch.randn(2, 3, 5, 4)
    ours = Upsample("transposed", 3, 3, factor=factor)(x_nchw)
    theirs = bilinear(x_nchw, factor)
    inside = slice(factor, -factor)  # at the edge one fades to zero, the other repeats
    assert torch.allclose(ours[..., inside, inside], theirs[..., inside, inside], atol=1e-5)


@pytest.mark.parametrize("kernel_px", [2, 3, 4])
@pytest.mark.parametrize(
    "kind", ["nearest", "bilinear", "bed_of_nails", "max_unpool", "transposed"]
)
def test_every_way_has_the_same_face(kind, kernel_px):
    _, indices = functional.max_pool2d(torch.randn(2, 4, 6, 10), 2, return_indices=True)
    up = Upsample(kind, 5, 3, kernel_px=kernel_px, pooled_channels=4)
    assert up(torch.randn(2, 5, 3, 5), indices).shape == (2, 3, 6, 10)


@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bed_of_nails", "max_unpool"])
def test_only_the_transposed_convolution_learns(kind):
    assert not list(Upsample(kind, 3, 3, pooled_channels=3).parameters())
    assert len(list(Upsample("transposed", 3, 3).parameters())) == 2


def test_max_unpooling_needs_a_pooling_by_two():
    with pytest.raises(ValueError, match="enlarges by 2"):
        Upsample("max_unpool", 3, 3, factor=8, pooled_channels=3)
