"""Several networks and symmetries answer as one, everywhere or where it can matter."""

from pathlib import Path

import pytest
import torch

from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.errors import ConfigError
from pipeline.inference import mean_network
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.regions import Look
from pipeline.inference.tta import Chances
from pipeline.networks.build import Prediction

pytestmark = pytest.mark.unit


class Shifted(torch.nn.Module):
    """Answers with the mean brightness of a pixel and of others near by, which is its margin."""

    stride = 8

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, images):
        grey = images.float().mean(1, keepdim=True)
        near = torch.nn.functional.avg_pool2d(grey, (9, 1), 1, (4, 0))  # depends on the direction
        return Prediction((self.weight * grey + near - 255) / 32, grey.amax((1, 2, 3)) / 64 - 1)


def with_networks(monkeypatch, *networks, **settings):
    each = iter(networks)
    monkeypatch.setattr(mean_network, "build_trained", lambda *_, **__: next(each))
    config = load_config(Path("configs/demo.yaml"), ["image_head.weight=0.1"])
    device = Device(torch.device("cpu"), torch.float32, 0)
    return MeanNetwork(config, device, [{}] * len(networks), **settings)


def dark_with_spots(*spots, height=160, width=192):
    """Images (N, 3, H, W) with a bright square each, None for none."""
    images = torch.randint(0, 30, (len(spots), 3, height, width), dtype=torch.uint8)
    for image, spot in zip(images, spots, strict=True):
        if spot is not None:
            image[:, spot[0] : spot[0] + 12, spot[1] : spot[1] + 20] = 200
    return images


@pytest.mark.parametrize("networks", [1, 2])
def test_looking_again_gives_the_mean_where_an_object_is_possible(monkeypatch, networks):
    images = dark_with_spots((70, 90), None, (0, 180), (150, 3))
    each = [Shifted(1.0), Shifted(1.5)][:networks]
    whole = with_networks(monkeypatch, *each)(images)
    looking = with_networks(monkeypatch, *each, look=Look(0.5, 16))
    found = looking(images)
    first = Shifted(1.0)(images)
    first_nchw = first.logits_nchw.sigmoid()
    core = (first_nchw > 0.5) | (whole.maps_nchw > 0.5)
    assert core.sum() > 300
    assert torch.allclose(found.maps_nchw[core], whole.maps_nchw[core], atol=1e-6)
    assert torch.equal(found.maps_nchw[1], first_nchw[1]), "one pass, where nothing is possible"
    assert torch.equal(found.image, first.image_logits.sigmoid())
    assert (looking.work.images, looking.work.ended) == (4, 1)
    assert 1 < looking.work.pixels / 4 < 0.4 * 8 * networks
    alone = torch.cat([looking(image[None]).maps_nchw for image in images])
    assert torch.allclose(alone, found.maps_nchw, atol=1e-6), "others in a batch change nothing"


def test_with_margins_as_large_as_the_image_all_of_it_is_computed(monkeypatch):
    images = dark_with_spots((70, 90))
    whole = with_networks(monkeypatch, Shifted(1.0))(images).maps_nchw
    found = with_networks(monkeypatch, Shifted(1.0), look=Look(0.5, 192))(images).maps_nchw
    assert torch.allclose(found, whole, atol=1e-6)


def test_what_is_no_number_stays_one_to_be_refused(monkeypatch):
    images = dark_with_spots(None)
    network = with_networks(monkeypatch, Shifted(float("nan")), look=Look(0.5, 16))
    assert network(images).maps_nchw.isnan().any()


def a_mean_network(monkeypatch, count):
    monkeypatch.setattr(mean_network, "build_trained", lambda *_, **__: torch.nn.Identity())
    device = Device(torch.device("cpu"), torch.float32, 0)
    return MeanNetwork(load_config(Path("configs/demo.yaml"), []), device, [{}] * count)


def test_memory_that_does_not_suffice_names_the_setting(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB")

    monkeypatch.setattr(mean_network, "mean_probability", full)
    network = a_mean_network(monkeypatch, 1)
    said = (
        r"predict.batch_size: 2 images of 8 x 6 px do not fit .* of cpu \(.*memory. Tried .* 9 GiB"
    )
    with pytest.raises(ConfigError, match=said):
        network(torch.zeros(2, 3, 8, 6, dtype=torch.uint8))


def test_several_networks_answer_with_their_mean(monkeypatch):
    answers = [torch.tensor([0.0, 0.1]), torch.tensor([1.0, 0.3])]
    each = iter([Chances(one.view(1, 2, 1, 1), None) for one in answers])
    monkeypatch.setattr(mean_network, "mean_probability", lambda *_: next(each))
    network = a_mean_network(monkeypatch, 2)
    maps_nchw, _ = network(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    assert maps_nchw.flatten().tolist() == pytest.approx([0.5, 0.2])
