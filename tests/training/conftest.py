"""The toy training's images."""

import pytest
from toy_training import draw_images


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("images"))
