"""What is wrong with a file that adds a network or an augmentation is said with its name."""

from types import SimpleNamespace

import pytest

from pipeline.config import architectures, augment
from pipeline.config.architectures import SMP
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit


def test_an_architecture_needs_a_name_of_its_own(monkeypatch):
    files = [
        SimpleNamespace(__file__="own.py", ARCHITECTURES={"own": SMP["fpn"]}),
        SimpleNamespace(__file__="two.py", ARCHITECTURES={"new": SMP["fpn"], "unet": SMP["unet"]}),
    ]
    monkeypatch.setattr(architectures, "modules_in", lambda _: files)
    with pytest.raises(ConfigError, match=r"two\.py: ARCHITECTURES: 'unet' is the name of another"):
        architectures.architectures.__wrapped__()
    del files[1].ARCHITECTURES["unet"]
    assert architectures.architectures.__wrapped__().keys() == {"own", "new", *SMP}


def blur(*, radius_px: int = 0):
    raise NotImplementedError


def test_an_augmentation_needs_a_kind_and_keys_of_its_own(monkeypatch):
    files = [
        SimpleNamespace(__file__="one.py", KIND="sensor", transform=blur),
        SimpleNamespace(__file__="two.py", KIND="color", transform=blur),
    ]
    monkeypatch.setattr(augment, "modules_in", lambda _: files)
    with pytest.raises(
        ConfigError, match=r"two\.py: KIND: expected .*geometry, colour, sensor.* got 'color'"
    ):
        augment.augmentations()
    files[1].KIND = "colour"
    assert augment.augmentations() == files[::-1]
    with pytest.raises(ConfigError, match=r"one\.py: transform: radius_px: expected a new key"):
        augment.section()
