import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.networks  # noqa: F401  (makes smp importable beside a CPU-only torch)
from pipeline.training.losses.lovasz import lovasz_extension, lovasz_hinge, lovasz_softmax

from segmentation_models_pytorch.losses import LovaszLoss  # isort: skip

pytestmark = pytest.mark.unit

PLAIN = {"per_image": True, "margin": "relu", "symmetric": False, "empty": "keep"}


def jaccard_loss(mistaken, foreground):
    """1 - IoU of the truth and a prediction wrong on exactly the pixels `mistaken`."""
    return len(mistaken) / len(mistaken | foreground) if mistaken else 0.0


def over_all_orderings(errors, truth):
    """The extension of a submodular set function is the largest of its sums over orderings."""
    foreground = frozenset(i for i, y in enumerate(truth) if y)
    best = 0.0
    for order in itertools.permutations(range(len(errors))):
        total, before = 0.0, 0.0
        for count, pixel in enumerate(order, 1):
            now = jaccard_loss(frozenset(order[:count]), foreground)
            total, before = total + errors[pixel] * (now - before), now
        best = max(best, total)
    return best


def case(n=4, channels=2, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)
    return logits, (torch.rand(logits.shape, generator=generator) < 0.3).double()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 1.0, 1.5]) | st.floats(0, 3), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_the_extension_is_the_largest_sum_over_all_orderings(pixels):
    errors, truth = zip(*pixels, strict=True)
    value = lovasz_extension(
        torch.tensor([errors], dtype=torch.float64), torch.tensor([truth], dtype=torch.float64)
    )
    assert value.item() == pytest.approx(over_all_orderings(errors, truth), abs=1e-12)


def test_the_hinge_is_the_largest_sum_over_all_orderings():
    logits, target = case(n=3, channels=1, size=2)
    target[1] = 1
    target[2] = 0
    expected = sum(
        over_all_orderings([max(0.0, 1 - v * (2 * t - 1)) for v, t in zip(z, y, strict=True)], y)
        for z, y in zip(logits.flatten(1).tolist(), target.flatten(1).tolist(), strict=True)
    )
    assert lovasz_hinge(logits, target, **PLAIN).item() == pytest.approx(expected / 3, abs=1e-12)


def test_the_softmax_is_the_largest_sum_over_all_orderings():
    logits, _ = case(n=1, channels=3, size=2)
    target = torch.tensor([[[0, 1], [1, 0]]])
    values = [
        over_all_orderings(
            [abs((t == k) - v) for v, t in zip(p, target.flatten().tolist(), strict=True)],
            [t == k for t in target.flatten().tolist()],
        )
        for k, p in enumerate(logits.softmax(1)[0].flatten(1).tolist())
    ]
    everything = lovasz_softmax(logits, target, classes="all", per_image=True)
    present = lovasz_softmax(logits, target, classes="present", per_image=True)
    assert everything.item() == pytest.approx(sum(values) / 3, abs=1e-12)
    assert present.item() == pytest.approx(sum(values[:2]) / 2, abs=1e-12)


def test_on_whole_mistakes_the_extension_is_the_jaccard_loss():
    truth = torch.tensor([[1.0, 1, 0, 0, 0]])
    for mistaken in itertools.product([0.0, 1.0], repeat=5):
        value = lovasz_extension(torch.tensor([mistaken]), truth).item()
        pixels = frozenset(i for i, m in enumerate(mistaken) if m)
        assert value == pytest.approx(jaccard_loss(pixels, frozenset({0, 1})), abs=1e-7)


def test_equal_errors_may_swap():
    errors = torch.tensor([[0.5, 0.5, 0.5, 1.0]], dtype=torch.float64)
    truths = [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1)]
    values = {
        round(lovasz_extension(errors, torch.tensor([truth], dtype=torch.float64)).item(), 12)
        for truth in truths
    }
    assert len(values) == 1


@pytest.mark.parametrize("per_image", [True, False])
def test_the_batch_at_once_equals_smps_loop_over_images(per_image):
    logits, target = (t.float() for t in case(n=5, channels=1, size=16))
    target[0] = 0
    ours = logits.clone().requires_grad_()
    value = lovasz_hinge(ours, target, **PLAIN | {"per_image": per_image})
    theirs = logits.clone().requires_grad_()
    expected = LovaszLoss("binary", per_image=per_image)(theirs, target)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("per_image", [True, False])
def test_softmax_at_once_equals_smps_loop_over_images(per_image):
    logits = case(n=5, channels=4, size=16)[0].float()
    target = torch.randint(0, 4, (5, 16, 16), generator=torch.Generator().manual_seed(1))
    target[0] = 0
    target[1] %= 3
    value = lovasz_softmax(logits, target, classes="present", per_image=per_image)
    expected = LovaszLoss("multiclass", per_image=per_image)(logits, target)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("positive", [1, 300, 65_536])
def test_float32_keeps_six_digits_on_a_large_image(positive):
    generator = torch.Generator().manual_seed(positive)
    logits = torch.randn(1, 1, 256, 256, generator=generator)
    target = torch.zeros(65_536).index_fill(
        0, torch.randperm(65_536, generator=generator)[:positive], 1
    )
    target = target.view(1, 1, 256, 256)
    exact = lovasz_hinge(logits.double(), target.double(), **PLAIN).item()
    assert lovasz_hinge(logits, target, **PLAIN).item() == pytest.approx(exact, rel=1e-6)


# Variants


def test_elu_takes_the_place_of_relu():
    logits, target = case()
    errors = (1 - logits * (2 * target - 1)).flatten(2).flatten(0, 1)
    softened = torch.where(errors > 0, errors + 1, errors.exp())
    expected = lovasz_extension(softened, target.flatten(2).flatten(0, 1)).mean()
    value = lovasz_hinge(logits, target, **PLAIN | {"margin": "elu"})
    torch.testing.assert_close(value, expected)


def test_symmetric_is_the_mean_over_ship_and_sea():
    logits, target = case()
    both = lovasz_hinge(logits, target, **PLAIN | {"symmetric": True})
    ship = lovasz_hinge(logits, target, **PLAIN)
    sea = lovasz_hinge(-logits, 1 - target, **PLAIN)
    torch.testing.assert_close(both, (ship + sea) / 2)
    swapped = lovasz_hinge(-logits, 1 - target, **PLAIN | {"symmetric": True})
    torch.testing.assert_close(both, swapped)


def test_a_batch_as_one_image_is_that_image():
    logits, target = case()
    joined = [t.transpose(0, 1).flatten(1).view(1, 2, 4 * 6, 6) for t in (logits, target)]
    torch.testing.assert_close(
        lovasz_hinge(logits, target, **PLAIN | {"per_image": False}),
        lovasz_hinge(*joined, **PLAIN),
    )


# Truth without foreground


def gradient(logits, target, **kwargs):
    leaf = logits.clone().requires_grad_()
    value = lovasz_hinge(leaf, target, **PLAIN | kwargs)
    value.backward()
    return value.item(), leaf.grad


def test_kept_empty_images_put_the_whole_gradient_on_one_pixel():
    logits, target = case(n=1, channels=1)
    value, grad = gradient(logits, torch.zeros_like(target), empty="keep")
    assert value == pytest.approx(1 + logits.max().item())
    assert (grad != 0).sum() == 1
    assert grad.flatten()[logits.argmax()] == 1


def test_skipped_empty_images_change_nothing():
    logits, target = case()
    target[1] = 0
    target[2, 0] = 0
    filled = target.flatten(2).sum(2) > 0
    value, grad = gradient(logits, target, empty="skip")
    each = [
        gradient(logits[i, c][None, None], target[i, c][None, None])[0]
        for i, c in filled.nonzero().tolist()
    ]
    assert len(each) == 5
    assert value == pytest.approx(sum(each) / 5)
    assert (grad[~filled] == 0).all()
    assert (grad[filled].abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("per_image", [True, False])
def test_a_batch_of_empty_images_skipped_is_zero_with_a_gradient_of_zero(per_image):
    logits, target = case()
    value, grad = gradient(logits, torch.zeros_like(target), empty="skip", per_image=per_image)
    assert value == 0
    assert (grad == 0).all()


def test_background_spreads_an_empty_images_gradient_over_its_mistakes():
    logits, target = case(n=1, channels=1)
    empty = torch.zeros_like(target)
    value, grad = gradient(logits, empty, empty="background")
    assert value == pytest.approx(torch.relu(1 + logits).mean().item())
    torch.testing.assert_close(grad, (logits > -1).double() / logits.numel())
    of_the_sea = lovasz_hinge(-logits, 1 - empty, **PLAIN)
    assert value == pytest.approx(of_the_sea.item())
    symmetric = gradient(logits, empty, empty="background", symmetric=True)[0]
    assert symmetric == pytest.approx(value)


def test_symmetric_skip_leaves_out_only_the_side_that_is_empty():
    logits, target = case(n=1, channels=1)
    empty = torch.zeros_like(target)
    value, grad = gradient(logits, empty, empty="skip", symmetric=True)
    assert value == pytest.approx(torch.relu(1 + logits).mean().item() / 2)
    assert (grad > 0).sum() == (logits > -1).sum()


def test_absent_classes_add_their_largest_error_only_when_asked():
    logits, _ = case(n=1, channels=3)
    target = torch.zeros(1, 6, 6, dtype=torch.int64)
    p = logits.softmax(1)
    present = lovasz_softmax(logits, target, classes="present", per_image=True)
    everything = lovasz_softmax(logits, target, classes="all", per_image=True)
    torch.testing.assert_close(present, (1 - p[:, 0]).mean())
    torch.testing.assert_close(everything, (present + p[:, 1].max() + p[:, 2].max()) / 3)
