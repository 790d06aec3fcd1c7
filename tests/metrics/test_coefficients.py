import math

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.masks.sizes import Sizes
from pipeline.metrics.coefficients import PixelCounts, cosine, dice, jaccard, score_pixels
from pipeline.metrics.dice import Dice
from pipeline.metrics.matching import match_objects

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")


def counts(*values):
    return [torch.tensor(value) for value in values]


def masks(*pixels):
    """Masks (N, 1, 1, P) from strings such as `.##.`."""
    return torch.tensor([[[[sign == "#" for sign in row]]] for row in pixels])


def test_the_lectures_table_on_a_small_example():
    assert dice(*counts(3, 4, 9)).item() == pytest.approx(2 * 3 / 13)
    assert jaccard(*counts(3, 4, 9)).item() == pytest.approx(3 / 10)
    assert cosine(*counts(3, 4, 9)).item() == pytest.approx(3 / (2 * 3))


@pytest.mark.parametrize("coefficient", [dice, jaccard, cosine])
def test_extremes(coefficient):
    assert coefficient(*counts(7, 7, 7)).item() == pytest.approx(1)
    assert coefficient(*counts(0, 5, 3)).item() == 0
    assert coefficient(*counts(0, 0, 0)).item() == 1
    assert coefficient(*counts(0, 4, 0)).item() == 0
    assert coefficient(*counts(0, 0, 4)).item() == 0
    assert math.isclose(coefficient(*counts(2**40, 2**40, 2**40)).item(), 1)


@given(st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11), min_size=1))
def test_coefficients_are_those_of_sets(x, y):
    predicted, truth = (torch.tensor([[i in s for i in range(12)]]) for s in (x, y))
    seen = PixelCounts(CPU)
    seen.update(predicted, truth)
    values = seen.coefficients()
    assert values["dice"] == pytest.approx(2 * len(x & y) / (len(x) + len(y)))
    assert values["jaccard"] == pytest.approx(len(x & y) / len(x | y))
    assert values["cosine"] == pytest.approx(len(x & y) / math.sqrt(len(x) * len(y)) if x else 0.0)
    assert values["dice"] == pytest.approx(2 * values["jaccard"] / (1 + values["jaccard"]))
    for name in ("dice", "jaccard", "cosine"):
        assert values[f"image_{name}"] == pytest.approx(values[name])
        assert values[f"ship_image_{name}"] == pytest.approx(values[name])


def test_pixelwise_pools_and_imagewise_averages():
    predicted = masks("####", "#...", "....", "#...")
    truth = masks("####", ".#..", "....", "....")
    seen = PixelCounts(CPU)
    for rows in (slice(0, 1), slice(1, 4)):
        seen.update(predicted[rows], truth[rows])
    values = seen.coefficients()
    assert values["dice"] == pytest.approx(2 * 4 / (6 + 5))
    assert values["jaccard"] == pytest.approx(4 / 7)
    assert values["cosine"] == pytest.approx(4 / math.sqrt(6 * 5))
    assert values["image_dice"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert values["image_cosine"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert values["ship_image_jaccard"] == pytest.approx((1 + 0) / 2)


def test_tables_of_ships_score_as_their_masks_do():
    truth = pd.DataFrame({"ImageId": ["a", "a", "b"], "EncodedPixels": ["1 2", "5 2", ""]})
    found = pd.DataFrame({"ImageId": ["a", "b"], "EncodedPixels": ["2 3", ""]})
    values = score_pixels(match_objects(truth, found, Sizes((2, 4)), Dice()))
    assert values["dice"] == pytest.approx(2 * 1 / (4 + 3))
    assert values["image_jaccard"] == pytest.approx((1 / 6 + 1) / 2)
    assert values["ship_image_cosine"] == pytest.approx(1 / math.sqrt(4 * 3))


def test_a_set_without_ships():
    seen = PixelCounts(CPU)
    seen.update(masks("....", "#..."), masks("....", "...."))
    values = seen.coefficients()
    assert values["dice"] == values["jaccard"] == values["cosine"] == 0
    assert values["image_dice"] == 0.5
    assert not any(name.startswith("ship_image") for name in values)
    silent = PixelCounts(CPU)
    silent.update(masks("...."), masks("...."))
    assert set(silent.coefficients().values()) == {1.0}


def test_nothing_counted_and_masks_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="no image was counted"):
        PixelCounts(CPU).coefficients()
    with pytest.raises(ValueError, match=r"\(1, 1, 1, 4\).*\(1, 1, 1, 3\)"):
        PixelCounts(CPU).update(masks("...."), masks("..."))
    with pytest.raises(ValueError, match="float32"):
        PixelCounts(CPU).update(masks("....").float(), masks("...."))


class NoWaiting(TorchDispatchMode):
    """Fails on the operation that makes the host wait for a device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.overloadpacket.__name__ != "_local_scalar_dense"
        return function(*args, **(kwargs or {}))


def test_counting_does_not_wait_for_the_device():
    seen = PixelCounts(CPU)
    with NoWaiting(), torch.inference_mode():
        seen.update(masks("##..", "...."), masks("#...", "...."))
    assert seen.coefficients()["dice"] == pytest.approx(2 / 3)
