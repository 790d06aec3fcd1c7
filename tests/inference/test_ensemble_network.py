"""Networks of several runs as one answer as the mean of the maps that the runs would store."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from pipeline.config.load import load_config
from pipeline.config.schema import Ensemble
from pipeline.errors import ArtifactError
from pipeline.inference.ensemble import average_maps
from pipeline.inference.ensemble_network import EnsembleNetwork
from pipeline.inference.tta import Chances

pytestmark = pytest.mark.unit
TINY = Path(__file__).parents[1] / "tiny.yaml"
FLOORS = (0.1, 0.2)


class Answer(SimpleNamespace):
    """A network with one answer, for two images of 4 x 6 px: object and contact, and a head."""

    def __call__(self, images_nchw, most_px):
        return self.chances


def answers():
    """The first image stays below the second floor."""
    random = torch.Generator().manual_seed(0)
    for floor, batch_size in zip(FLOORS, (8, 4), strict=True):
        maps_nchw = torch.rand(2, 2, 4, 6, generator=random)
        maps_nchw[0, 0] = 0.12 + 0.06 * maps_nchw[0, 0]
        config = load_config(TINY, [f"predict.floor={floor}"])
        chances = Chances(maps_nchw, torch.rand(2, generator=random))
        yield Answer(config=config, batch_size=batch_size, device="cpu", chances=chances)


@pytest.mark.parametrize("mean", ["probability", "logit"])
@pytest.mark.parametrize("shape", [None, (2, 3)], ids=["whole", "pooled"])
def test_the_mean_is_that_of_stored_maps(mean, shape):
    first, second = answers()
    ensemble = Ensemble(runs=["a", "b"], mean=mean)
    both = EnsembleNetwork(first.config, ensemble, [first, second], shape)
    assert both.batch_size == 4
    found = both(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))
    each = [one.chances.maps_nchw for one in (first, second)]
    if shape is not None:
        each = [avg_pool2d(maps_nchw, 2) for maps_nchw in each]
    ours, theirs = (np.rint(maps_nchw.numpy() * 255).astype(np.uint8) for maps_nchw in each)
    theirs[0] = 0
    expected = average_maps([ours, theirs], mean)
    np.testing.assert_array_equal(np.rint(found.maps_nchw.numpy() * 255), expected)
    heads = np.mean([one.chances.image.numpy() for one in (first, second)], axis=0)
    np.testing.assert_allclose(found.image, heads, atol=2e-6)


def test_what_is_no_probability_is_told():
    first, second = answers()
    second.chances.maps_nchw[1, 0, 0, 0] = torch.nan
    both = EnsembleNetwork(first.config, Ensemble(runs=["a", "b"], mean="logit"), [first, second])
    with pytest.raises(ArtifactError, match="expected probabilities, got NaN"):
        both(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))
