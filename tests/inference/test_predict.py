"""Probabilities become bytes, or an error that names the image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.load import load_config
from pipeline.errors import ArtifactError
from pipeline.inference.predict import as_maps
from pipeline.inference.tta import Chances

pytestmark = pytest.mark.unit

PATHS = [Path("a.jpg"), Path("b.jpg"), Path("c.jpg")]
ONE = load_config(Path("configs/demo.yaml"), [])
OWN = [
    "competition=masks",
    "own_data.classes=[a,b]",
    "predict.look_again=false",
    "calibrate.candidate_selection=null",
]


def test_probabilities_become_the_maps_of_each_image():
    mean = Chances(torch.tensor([[[[0.0, 0.5]]], [[[1.0, 0.2]]]]), None)
    (one,), (two,) = as_maps(mean, PATHS, ONE)
    assert np.array_equal(one.prob_hw, [[0, 128]])
    assert np.array_equal(two.prob_hw, [[255, 51]])
    assert one.contact_hw is None
    ((both,),) = as_maps(Chances(torch.tensor([[[[1.0]], [[0.2]]]]), None), PATHS[:1], ONE)
    assert (both.prob_hw.item(), both.contact_hw.item()) == (255, 51)
    assert both.prob_hw.dtype == both.contact_hw.dtype == np.uint8


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_and_the_image_named(wrong):
    mean_nchw = torch.zeros(3, 2, 4, 4)
    mean_nchw[1, 1, 2, 3] = wrong
    with pytest.raises(ArtifactError, match=r"b\.jpg: expected probabilities, got NaN"):
        list(as_maps(Chances(mean_nchw, None), PATHS, ONE))


def test_the_image_heads_answer_goes_with_the_maps():
    maps_nchw, image = torch.zeros(2, 1, 1, 2), torch.tensor([0.25, 1 / 3])
    (one,), (two,) = as_maps(Chances(maps_nchw, image), PATHS, ONE)
    assert (one.image_prob, two.image_prob) == (0.25, 0.333333)
    with pytest.raises(ArtifactError, match="expected probabilities, got NaN"):
        list(as_maps(Chances(maps_nchw, image / torch.tensor([1.0, 0.0])), PATHS, ONE))


@pytest.mark.parametrize(("objects", "first", "second"), [(True, 0, 204), (False, 102, 204)])
def test_objects_of_several_classes_share_no_pixel_and_masks_may(objects, first, second):
    metric = "f2" if objects else "dice"
    overrides = [*OWN, f"own_data.objects={str(objects).lower()}", f"calibrate.metric={metric}"]
    overrides += [] if objects else ["calibrate.watershed=null"]
    config = load_config(Path("configs/demo.yaml"), overrides)
    maps_nchw = torch.tensor([[0.4, 0.6], [0.8, 0.2]]).view(1, 2, 1, 2)
    ((one, two),) = as_maps(Chances(maps_nchw, None), PATHS[:1], config)
    assert one.prob_hw.tolist() == [[first, 153]]
    assert two.prob_hw.tolist() == [[second, 0 if objects else 51]]
