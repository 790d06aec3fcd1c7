"""One normalisation, one pad rule, any size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.networks import Network
from pipeline.networks.build import build_network
from pipeline.networks.encoders import mean_and_std
from pipeline.networks.frame import normalise, pad_to_multiple

pytestmark = pytest.mark.unit


IMAGENET_255 = [255 * torch.tensor(values).view(3, 1, 1) for values in mean_and_std(None)]


def test_normalise_gives_imagenets_mean_and_deviation():
    mean, std = IMAGENET_255
    assert torch.allclose(normalise(mean[None], mean, std), torch.zeros(1, 3, 1, 1))
    assert torch.allclose(normalise((mean + std)[None], mean, std), torch.ones(1, 3, 1, 1))
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), mean, std)
    assert black.dtype == torch.float32
    assert torch.allclose(black.flatten(), torch.tensor([-2.1179, -2.0357, -1.8044]), atol=1e-4)


def test_bytes_and_floats_are_the_same_image():
    mean, std = IMAGENET_255
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert normalise(images, mean, std).equal(normalise(images.float(), mean, std))


@pytest.mark.parametrize(
    ("encoder", "darkest", "brightest"),
    [
        ("tu-test_efficientnet", -2.1179, 2.2489),
        ("tu-test_resnet", -1.0, 1.0),
        ("inceptionv4", -1.0, 1.0),
        ("tu-never_heard_of", -2.1179, 2.2489),
    ],
)
def test_each_encoder_has_the_colours_its_weights_expect(encoder, darkest, brightest):
    mean, std = mean_and_std(encoder)
    red = [(value - mean[0]) / std[0] for value in (0, 1)]
    assert red == pytest.approx([darkest, brightest], abs=1e-4)


def test_the_network_shows_its_encoder_the_colours_it_expects():
    options = {"encoder_depth": 3, "decoder_channels": [8, 8, 8]}
    section = Network(arch="unet", encoder="tu-test_resnet", weights="none", options=options)
    network = build_network(section, 1).eval()
    seen = []
    network.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8))
    assert (seen[0][0] == -1).all()
    assert (seen[0][1] == 1).all()


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
