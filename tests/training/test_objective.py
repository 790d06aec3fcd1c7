"""The loss of pixels and image head together, and the head's way to the rules."""

import logging
from pathlib import Path

import pandas as pd
import pytest
import torch
from all_stages import STAGES, run_stages
from pydantic import TypeAdapter
from torch.nn import functional

from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_config
from pipeline.config.losses import LossTerm
from pipeline.config.schema import Targets
from pipeline.data.targets import probabilities
from pipeline.jobs.run import Run
from pipeline.networks.build import Prediction
from pipeline.training.objective import Objective, WeightedSum

BCE = {"name": "bce", "weight": 1.0, "label_smoothing": 0.0}
LOVASZ = {
    "name": "lovasz_hinge",
    "weight": 1.0,
    "per_image": False,
    "margin": "relu",
    "symmetric": False,
    "empty": "skip",
}
TERMS, BOTH = (TypeAdapter(list[LossTerm]).validate_python(each) for each in ([BCE], [BCE, LOVASZ]))
SHIP, TWO = (
    Targets(kind=kind, contact_px=2, contact_weight=0.25) for kind in ("object", "object_contact")
)


@pytest.mark.unit
def test_contact_is_asked_of_ships_and_contact_alone_and_has_its_own_weight():
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    target = torch.zeros(2, 2, 8, 8, dtype=torch.uint8)
    target[0, 0, 1:3], target[0, 0, 4:7], target[0, 1, 2:5] = 1, 1, 1  # with a gap at row 3
    objective = Objective(BOTH, TWO, 0.0)
    total, values = objective(Prediction(logits, None), target)
    asked = target.amax(1) > 0
    contact, truth = (each[:, 1][asked] for each in (logits, target.float()))
    pixels = WeightedSum(BOTH)
    ships = pixels(logits[:, :1], target[:, :1])[0]
    # Of what is asked alone: the loss of a single picture of these pixels; the BCE's mean is over
    # all pixels.
    bce = functional.binary_cross_entropy_with_logits(contact, truth, reduction="sum") / (2 * 64)
    lovasz = WeightedSum(BOTH[1:])(contact[None, None, None], truth[None, None, None])[0]
    assert torch.allclose(total, ships + 0.25 * (bce + lovasz), atol=1e-6)
    assert torch.allclose(values["contact"], bce + lovasz, atol=1e-6)
    assert set(values) == set(objective.terms) == {"bce", "lovasz_hinge", "contact"}
    gradient = torch.autograd.grad(total, logits)[0][:, 1]
    assert (gradient[~asked] == 0).all()
    assert (gradient[asked] != 0).all()


@pytest.mark.unit
def test_contact_is_the_chance_of_a_ship_that_is_in_contact():
    logits = torch.tensor([3.0, -1.0]).reshape(1, 2, 1, 1)
    ship, contact = logits.sigmoid().flatten()
    assert torch.allclose(
        probabilities(logits, "object_contact").flatten(), torch.stack([ship, ship * contact])
    )


@pytest.mark.unit
@pytest.mark.parametrize("targets", [TWO, SHIP])
def test_the_head_learns_whether_the_crop_shows_a_ship(targets):
    torch.manual_seed(0)
    shape = (3, CHANNELS[targets.kind], 8, 8)
    logits, image_logits = torch.randn(shape), torch.tensor([2.0, -1.0, 0.5], requires_grad=True)
    target = torch.zeros(shape, dtype=torch.uint8)
    target[1, 0, 3, 4] = 1
    target[2, -1, 0, 0] = 1  # a ship's pixel only where there is one channel
    total, values = Objective(TERMS, targets, 0.5)(Prediction(logits, image_logits), target)
    truth = torch.tensor([0.0, 1.0, float(shape[1] == 1)])
    image = functional.binary_cross_entropy_with_logits(image_logits, truth)
    pixels = Objective(TERMS, targets, 0.0)(Prediction(logits, None), target)[0]
    assert torch.allclose(total, pixels + 0.5 * image)
    assert torch.allclose(values["image_head"], image)
    total.backward()
    assert (image_logits.grad != 0).all()


@pytest.mark.unit
def test_without_a_weight_only_pixels_count():
    logits, target = torch.randn(2, 1, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8)
    objective = Objective(TERMS, SHIP, 0.0)
    total, values = objective(Prediction(logits, None), target)
    assert total == WeightedSum(TERMS)(logits, target)[0]
    assert list(values) == objective.terms == ["bce"]
    with pytest.raises(ValueError, match="expected image logits"):
        Objective(TERMS, SHIP, 0.1)(Prediction(logits, None), target)


@pytest.mark.contract
def test_the_head_goes_from_training_to_the_submission(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    tiny = Path(__file__).parents[1] / "tiny.yaml"
    overrides = ["image_head.weight=0.5", "train.epochs=1", "finetune.epochs=1", "predict.floor=0"]
    run = Run(load_config(tiny, overrides), restart=False)
    run_stages(run, STAGES[:5])
    history = pd.read_csv(run.folder / "train" / "fold0" / "history.csv")
    assert history["loss_image_head"].gt(0).all()
    index = pd.read_csv(run.folder / "predict" / "test" / "index.csv")
    assert index["image_probability"].between(0, 1).all()
    with caplog.at_level(logging.INFO):
        run_stages(run, STAGES[5:])
    assert "test images" in caplog.text
