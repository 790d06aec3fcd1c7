"""What all tests of the networks share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """More threads only wait for each other on networks as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
