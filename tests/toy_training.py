"""A training of a second: two convolutions, six small images with a ship each, 18 steps."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.augment import Augment
from pipeline.config.load import load_config
from pipeline.config.schema import Crops, Targets
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.jobs.job import Job
from pipeline.masks.rle import encode_labels
from pipeline.networks.build import Prediction
from pipeline.training.context import TrainingContext
from pipeline.training.loop import train
from pipeline.training.step import Step

STEPS = 6  # of an epoch
SIZE = 32
SHIP = Targets(kind="object", contact_px=2, contact_weight=1.0)


class Network(nn.Module):
    """Two convolutions with a BatchNorm between, seeded."""

    def __init__(self, channels=1, dropout=0.0, *, norm=True):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, channels, 1),
        )

    def forward(self, images):
        return Prediction(self.layers(images.float() / 255), None)


def draw_images(folder):
    random = np.random.default_rng(0)
    paths, encoded = [], []
    for number in range(6):
        labels_hw = np.zeros((SIZE, SIZE), np.int32)
        top, left = random.integers(2, 16, 2)
        labels_hw[top : top + 10, left : left + 8] = 1
        image_hwc = random.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        image_hwc[labels_hw > 0] += 140
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image_hwc)
        encoded.append(encode_labels(labels_hw))
    return paths, TrueObjects(encoded, (SIZE, SIZE))


def settings(*overrides):
    lively = ["train.epochs=3", "train.learning_rate=0.02", "train.ema_decay=0.9"]
    small = ["machine.device=cpu", "machine.loader_workers=0", "machine.threads=1"]
    return load_config(Path("configs/demo.yaml"), [*lively, *small, *overrides])


def job_in(folder, wanted="a"):
    return Job(
        "train",
        0,
        folder,
        {"stage": "train", "fold": 0, "seed": 0, "config": {"x": wanted}}
        | {"inputs": {}, "files": {}},
    )


def dataset(images, seed=0, targets=SHIP):
    still = {name: 0 if name == "hue_deg" else 0.0 for name in Augment.model_fields}
    return CropDataset(
        *images,
        targets=targets,
        crops=Crops(
            size_px=24,
            batch_size=4,
            per_epoch=4 * STEPS,
            object_share=0.75,
            contact_share=0.0,
            empty_share=0.125,
            busiest_of=1,
            hard_run=None,
        ),
        augment=Augment(**still | {"symmetries": True, "brightness": 0.1}),
        seed=seed,
        stream=("train", 0),
    )


def context(folder, images, *overrides, wanted="a", crops=None, device=None):
    config = settings(*overrides)
    return TrainingContext(
        job_in(folder, wanted),
        config,
        config.train,
        crops or dataset(images, targets=config.targets),
        ImageDataset(images[0], (SIZE, SIZE), (images[1], config.targets)),
        device or Device.choose(config.machine),
        Group.current(),
    )


def run(folder, images, *overrides, wanted="a", network=None, crops=None):
    folder.mkdir(exist_ok=True)
    train(context(folder, images, *overrides, wanted=wanted, crops=crops), network or Network())
    return torch.load(folder / "final.pt", weights_only=True)["model"]


def at_step(monkeypatch, step, action):
    """Do something when a step begins, and once only."""
    original, done = Step.__call__, []

    def acting(self, batch):
        if self._state.step == step and not done:
            done.append(step)
            action()
        return original(self, batch)

    monkeypatch.setattr(Step, "__call__", acting)


def killed_at(step, monkeypatch, folder, images, *overrides, network=None):
    """Run until a step, and end in it as a kill would."""

    def die():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        at_step(patched, step, die)
        with pytest.raises(KeyboardInterrupt):
            run(folder, images, *overrides, network=network)
    assert not (folder / "manifest.json").exists()


def saved_step(folder):
    return torch.load(folder / "last.pt", weights_only=True)["step"]


def history(folder):
    """What a run recorded, without what depends on the clock."""
    table = pd.read_csv(folder / "history.csv")
    return table[[name for name in table if not name.endswith("_s")]]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
