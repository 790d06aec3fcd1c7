"""What is added by a file: a network, a loss and an augmentation, in a copy of the project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[1]
ADDED = {
    "pipeline/networks/architectures/plain.py": '''
"""A convolution."""

from torch import nn

from pipeline.config.architectures import Architecture, Width
from pipeline.config.extensions import keyword_types
from pipeline.networks.two_headed import TwoHeaded


class Plain(TwoHeaded):
    """Two convolutions."""

    def __init__(self, channels: int, *, width: Width = 8) -> None:
        super().__init__()
        self.stride_px, self.deep_channels = 1, width
        self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, channels, 1)

    def segment(self, x_nchw):
        deep = self.first(x_nchw).relu()
        return self.last(deep), deep


ARCHITECTURES = {
    "plain": Architecture("Nobody 2026", keyword_types(Plain), encoders=(), build=Plain)
}
''',
    "configs/plain.yaml": """
base: demo.yaml
name: plain
network: {arch: plain, encoder: null, options: {width: 4}}
""",
    "pipeline/training/losses/hinge.py": '''
"""The hinge loss."""

from typing import Annotated, Literal

from pipeline.config.earlier import Neutral
from pipeline.config.fields import SIGMOID, LossTerm, Positive


def hinge(logits_nchw, target_nchw, *, margin):
    """Mean of what each pixel lacks of the margin."""
    return (margin - logits_nchw * (2 * target_nchw - 1)).clamp(min=0).mean()


class Hinge(LossTerm):
    """The mean hinge."""

    name: Literal["hinge"]
    margin: Annotated[Positive, Neutral(1.0)]

    answers = SIGMOID
    loss = staticmethod(hinge)
''',
    "pipeline/data/augmentations/inverted.py": '''
"""Negatives."""

from pipeline.config.fields import Share

KIND = "colour"


def transform(*, inverted_probability: Share = 0.0):
    import albumentations

    return albumentations.InvertImg(p=inverted_probability)
''',
}
LINE = "  inverted_probability: 1.0\n"
USE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from pipeline.commands.list_networks import main
from pipeline.config.load import as_stored, load_config, load_stored_config
from pipeline.data.augment import Augmenter
from pipeline.errors import ConfigError
from pipeline.networks import table
from pipeline.networks.build import build_network
from pipeline.training.objective import WeightedSum

still = ["augment.symmetries=false", "augment.brightness=0.0", "augment.contrast=0.0"]
config = load_config(Path("configs/plain.yaml"), still)
network = build_network(config.network, 2, image_head=True).eval()
logits, image_logits = network(torch.zeros(3, 3, 16, 20, dtype=torch.uint8))
image, labels = np.full((8, 8, 3), 10, np.uint8), np.ones((1, 8, 8), np.int32)
changed, same = Augmenter(config.augment)(image, labels, 0)
try:
    wrong = ["network.options.widht=4", "augment.inverted_probability=2"]
    load_config(Path("configs/plain.yaml"), wrong)
except ConfigError as error:
    defects = str(error)
stored = Path("runs/earlier/config.yaml")
stored.parent.mkdir(parents=True)
lines = as_stored(config).splitlines(keepends=True)
stored.write_text("".join(line for line in lines if "inverted" not in line))
hinge = ["train.loss=[{name: hinge, weight: 2.0, margin: 1.5}]", "targets.kind=object"]
terms = load_config(Path("configs/plain.yaml"), hinge).train.loss
loss, _ = WeightedSum(terms)(torch.full((1, 1, 2, 2), 0.25), torch.ones(1, 1, 2, 2))
known = table.architectures()
table.architectures = lambda: {"plain": known["plain"]}
sys.argv = ["list_networks", "--config", "configs/plain.yaml", "crops.size_px=16"]
sys.argv += ["machine.device=cpu", "machine.threads=1"]
main()
result = {
    "logits": [*logits.shape, *image_logits.shape],
    "parameters": sum(each.numel() for each in network.body.last.parameters()),
    "changed": np.unique(changed).tolist(),
    "labels": bool((same == labels).all()),
    "loss": loss.item(),
    "defects": defects,
    "earlier": [len(lines) - len(stored.read_text().splitlines()),
                load_stored_config(stored).augment.inverted_probability],
}
print(json.dumps(result))
"""


def test_files_are_a_network_a_loss_and_an_augmentation(tmp_path):
    for part in ("pipeline", "configs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in ADDED.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    demo = tmp_path / "configs/demo.yaml"
    demo.write_text(demo.read_text().replace("\naugment:\n", f"\naugment:\n{LINE}"))
    command = [sys.executable, "-c", USE]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True).splitlines()
    result = json.loads(printed[-1])
    assert result["logits"] == [3, 2, 16, 20, 3]
    assert result["parameters"] == 4 * 2 + 2  # four channels wide, as the configuration says
    assert result["changed"] == [245]
    assert result["labels"]
    assert result["loss"] == 2 * (1.5 - 0.25)
    assert result["earlier"] == [1, 0.0]
    wrong_option, wrong_value = result["defects"].splitlines()
    assert "options.widht: plain has no such option. Did you mean 'width'?" in wrong_option
    assert "augment.inverted_probability: expected less than or equal to 1, got 2" in wrong_value
    assert printed[-2].split()[:4] == ["plain", "-", "Nobody", "2026"]
