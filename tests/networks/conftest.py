"""What all tests of the networks share."""

import pytest
import torch

from pipeline.networks import encoders


@pytest.fixture(autouse=True)
def _one_thread():
    """More threads only wait for each other on networks as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Point(torch.nn.Linear):
    """A layer with one input and one output, whatever it was asked for."""

    def __init__(self, *_sizes):
        super().__init__(1, 1)


@pytest.fixture(autouse=True)
def _no_classifier(monkeypatch):
    """Let smp not draw the 119 million numbers of a VGG's classifier, which it then deletes."""
    get_encoder = encoders.get_encoder

    def quick(name, **options):
        with monkeypatch.context() as patched:
            if name.startswith("vgg"):
                patched.setattr(torch.nn, "Linear", Point)
            return get_encoder(name, **options)

    monkeypatch.setattr(encoders, "get_encoder", quick)
