"""The loop: it learns, its EMA is an EMA, and a resumed run has the bits of an unbroken one."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pipeline.config import Augment, Crops, Targets, load_config
from pipeline.data.targets import CHANNELS
from pipeline.data.tiles import CropDataset, ImageDataset, TrueShips
from pipeline.errors import ArtifactError
from pipeline.networks.build import Prediction
from pipeline.run import Job
from pipeline.ships.rle import encode_labels
from pipeline.training.loop import train
from pipeline.training.step import Step

pytestmark = pytest.mark.unit

SIZE = 32
SHIP = Targets(kind="ship", contact_px=2)


class Network(nn.Module):
    """Two convolutions with a BatchNorm between, seeded."""

    def __init__(self, channels=1, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, channels, 1),
        )

    def forward(self, images):
        return Prediction(self.layers(images.float() / 255), None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
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
    return paths, TrueShips(encoded, SIZE, SIZE)


def settings(*overrides):
    lively = ["train.epochs=3", "train.learning_rate=0.02", "train.ema_decay=0.9"]
    small = ["machine.device=cpu", "machine.loader_workers=0", "machine.threads=1"]
    return load_config(Path("configs/demo.yaml"), [*lively, *small, *overrides])


def job_in(folder, wanted="a"):
    return Job(
        "train", 0, folder, {"stage": "train", "fold": 0, "seed": 0, "config": {"x": wanted}}
    )


def dataset(images, seed=0, targets=SHIP):
    still = {name: 0 if name == "hue_deg" else 0.0 for name in Augment.model_fields}
    return CropDataset(
        *images,
        targets=targets,
        crops=Crops(
            size_px=24,
            batch_size=4,
            per_epoch=24,
            ship_share=0.75,
            empty_share=0.125,
            busiest_of=1,
            hard_run=None,
        ),
        augment=Augment(**still | {"symmetries": True, "brightness": 0.1}),
        seed=seed,
        stream=("train", 0),
    )


def run(folder, images, *overrides, wanted="a", network=None):
    config = settings(*overrides)
    targets = config.targets
    folder.mkdir(exist_ok=True)
    train(
        job_in(folder, wanted),
        network or Network(),
        dataset(images, targets=targets),
        ImageDataset(images[0], SIZE, SIZE, (images[1], targets)),
        kind=targets.kind,
        image_weight=0.0,
        settings=config.train,
        machine=config.machine,
        batch_size=4,
    )
    return torch.load(folder / "final.pt", weights_only=True)["model"]


def test_it_learns_and_records(tmp_path, images):
    run(tmp_path / "a", images, "train.epochs=5")
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert history.epoch.tolist() == [1, 2, 3, 4, 5]
    assert history.loss.iloc[-1] < 0.6 * history.loss.iloc[0]
    assert history.val_dice.iloc[-1] > 0.8
    assert history.learning_rate.is_monotonic_decreasing
    assert history.learning_rate.iloc[-1] < 0.1 * history.learning_rate.max()


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("ship_contact", "bce, label_smoothing: 0.0"),
        ("classes", "cross_entropy, label_smoothing: 0.0"),
        ("classes", "lovasz_softmax, classes: present, per_image: false"),
    ],
)
def test_it_learns_ships_from_every_kind_of_target(tmp_path, images, kind, loss):
    terms = f"train.loss=[{{weight: 1.0, name: {loss}}}]"
    # finetune is not run, but its loss must suit the targets too.
    overrides = ["train.epochs=5", f"targets.kind={kind}", terms, f"finetune.{terms[6:]}"]
    run(tmp_path / "a", images, *overrides, network=Network(CHANNELS[kind]))
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert history.val_dice.iloc[-1] > 0.8


STEPS = 6  # of an epoch


def dies_at(monkeypatch, step, error=KeyboardInterrupt):
    """Make the loop die in a step, as a kill would."""
    original = Step.__call__

    def dying(self, batch):
        if self._state.step == step:
            raise error
        return original(self, batch)

    monkeypatch.setattr(Step, "__call__", dying)


def broken_run(folder, images, monkeypatch, step, *overrides):
    with monkeypatch.context() as patched:
        dies_at(patched, step)
        with pytest.raises(KeyboardInterrupt):
            run(folder, images, *overrides)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def history(folder):
    """What a run recorded, without what depends on the clock."""
    table = pd.read_csv(folder / "history.csv")
    return table[[name for name in table if not name.endswith("_s")]]


@pytest.mark.parametrize(
    ("saved", "step"), [("epoch", 2), ("epoch", 7), ("epoch", 17), ("step", 1), ("step", 10)]
)
def test_a_resumed_run_has_the_bits_of_an_unbroken_one(tmp_path, images, monkeypatch, saved, step):
    whole = run(tmp_path / "whole", images, network=Network(dropout=0.3))
    often = ["machine.checkpoint_minutes=1.0e-9"] if saved == "step" else []
    folder = tmp_path / "broken"
    with monkeypatch.context() as patched:
        dies_at(patched, step)
        with pytest.raises(KeyboardInterrupt):
            run(folder, images, *often, network=Network(dropout=0.3))
    assert not (folder / "manifest.json").exists()
    kept = step if saved == "step" else step // STEPS * STEPS
    assert (folder / "last.pt").exists() == (kept > 0)
    if kept:
        assert torch.load(folder / "last.pt", weights_only=True)["step"] == kept
    assert same(run(folder, images, network=Network(dropout=0.3)), whole)
    assert history(tmp_path / "whole").equals(history(folder))


def test_the_number_of_workers_does_not_change_the_weights(tmp_path, images):
    alone = run(tmp_path / "0", images, "train.epochs=1")
    assert same(run(tmp_path / "2", images, "train.epochs=1", "machine.loader_workers=2"), alone)


def test_another_seed_gives_other_crops(images):
    first, second = (dataset(images, seed)[0, 0]["image_chw"] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_final_weights_are_the_average_of_the_parameters(tmp_path, images):
    live = Network()
    averaged = run(tmp_path / "slow", images, "train.ema_decay=0.999", network=live)
    assert not torch.equal(averaged["layers.0.weight"], live.state_dict()["layers.0.weight"])
    live = Network()
    copied = run(tmp_path / "none", images, "train.ema_decay=0.0", network=live)
    parameters = dict(live.named_parameters())
    assert same({name: copied[name] for name in parameters}, parameters)


def test_statistics_of_the_average_fit_its_weights(tmp_path, images):
    """The averaged BatchNorm statistics must be near those its own weights produce."""
    averaged = Network()
    averaged.load_state_dict(run(tmp_path / "a", images, "train.epochs=6"))
    crops = dataset(images)
    batch = torch.stack([crops[5, index]["image_chw"] for index in range(len(crops))])
    activations = averaged.layers[0](batch.float() / 255)
    exact = activations.mean((0, 2, 3)), activations.var((0, 2, 3))
    statistics = averaged.layers[1].running_mean, averaged.layers[1].running_var
    for ours, measured in zip(statistics, exact, strict=True):
        assert torch.allclose(ours, measured, rtol=0.05, atol=0.01)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, images, monkeypatch):
    broken_run(tmp_path / "a", images, monkeypatch, STEPS)
    with pytest.raises(ArtifactError, match=r"last.pt: a checkpoint of another configuration"):
        run(tmp_path / "a", images, wanted="b")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused(tmp_path, images, monkeypatch, damage):
    broken_run(tmp_path / "a", images, monkeypatch, STEPS)
    path = tmp_path / "a" / "last.pt"
    whole = bytearray(path.read_bytes())
    if damage == "flip":
        whole[len(whole) // 2] ^= 255
    path.write_bytes({"cut": whole[:-200], "flip": whole, "empty": b""}[damage])
    with pytest.raises(
        ArtifactError, match=r"last.pt: damaged checkpoint .*--from train --restart"
    ):
        run(tmp_path / "a", images)


def test_gradients_that_stay_not_finite_stop_and_name_the_images(tmp_path, images):
    network = Network()
    with torch.no_grad():
        network.layers[4].bias.fill_(float("nan"))
    with pytest.raises(ArtifactError, match=r"6 steps in a row.*not_finite.json.*train.learning"):
        run(tmp_path / "a", images, network=network)
    assert not (tmp_path / "a" / "last.pt").exists()
    named = json.loads((tmp_path / "a" / "not_finite.json").read_text())
    assert named["step"] == STEPS
    assert len(named["image_ids"]) == 4
    assert set(named["image_ids"]) <= {path.name for path in images[0]}
