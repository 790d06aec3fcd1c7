"""The loop: it learns, its EMA is an EMA, and nothing but the data decides the weights."""

import pandas as pd
import pytest
import torch
from toy_training import Network, context, dataset, run, same

from pipeline.config.fields import CHANNELS
from pipeline.training import batches

pytestmark = pytest.mark.contract


def test_it_learns_and_records(tmp_path, images):
    run(tmp_path / "a", images, "train.epochs=5")
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert history.epoch.tolist() == [1, 2, 3, 4, 5]
    assert history.loss.iloc[-1] < 0.6 * history.loss.iloc[0]
    assert history.val_dice.iloc[-1] > 0.8
    assert history.val_f2.between(0, 1).all()
    assert history.val_f2.iloc[-1] > 0.3
    assert history.learning_rate.is_monotonic_decreasing
    assert history.learning_rate.iloc[-1] < 0.1 * history.learning_rate.max()


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("object_contact", "bce, label_smoothing: 0.0"),
        ("softmax", "cross_entropy, label_smoothing: 0.0"),
        ("softmax", "lovasz_softmax, classes: present, per_image: false"),
    ],
)
def test_it_learns_ships_from_every_kind_of_target(tmp_path, images, kind, loss):
    terms = f"train.loss=[{{weight: 1.0, name: {loss}}}]"
    # finetune is not run, but its loss must suit the targets too.
    overrides = ["train.epochs=5", f"targets.kind={kind}", terms, f"finetune.{terms[6:]}"]
    run(tmp_path / "a", images, *overrides, network=Network(CHANNELS[kind]))
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    assert history.val_dice.iloc[-1] > 0.8


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


@pytest.mark.parametrize(("batch_size", "count"), [(4, 2), (12, 1), (24, 1)])
def test_statistics_are_estimated_on_a_batch_at_least(
    tmp_path, images, monkeypatch, batch_size, count
):
    monkeypatch.setattr(batches, "STATISTICS_CROPS", 8)
    settling = batches.statistics_batches(context(tmp_path, images), 0, batch_size)
    assert [len(batch["image_chw"]) for batch in settling] == [batch_size] * count
