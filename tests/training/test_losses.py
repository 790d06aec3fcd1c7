import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.losses import LossTerm
from pipeline.errors import ConfigError
from pipeline.training.losses import cross_entropy, focal
from pipeline.training.losses import dice as dice_losses
from pipeline.training.objective import WeightedSum

from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, JaccardLoss  # isort: skip

pytestmark = pytest.mark.unit

SIGMOID_TERMS = [
    {"name": "bce", "weight": 1.0, "label_smoothing": 0.1},
    {"name": "soft_dice", "weight": 1.0, "per_image": True, "smooth": 1.0},
    {"name": "soft_dice", "weight": 1.0, "per_image": False, "smooth": 1.0},
    {"name": "soft_jaccard", "weight": 1.0, "per_image": True, "smooth": 1.0},
    {
        "name": "bce_minus_ln_dice",
        "weight": 1.0,
        "per_image": True,
        "smooth": 1.0,
        "label_smoothing": 0.1,
    },
    {
        "name": "bce_minus_ln_dice",
        "weight": 1.0,
        "per_image": False,
        "smooth": 1e-3,
        "label_smoothing": 0.0,
    },
    {"name": "focal", "weight": 1.0, "alpha": 0.25, "gamma": 2.0},
    {"name": "focal", "weight": 1.0, "alpha": None, "gamma": 0.5},
    *(
        {
            "name": "lovasz_hinge",
            "weight": 1.0,
            "per_image": per_image,
            "margin": margin,
            "symmetric": symmetric,
            "empty": empty,
        }
        for per_image, margin, symmetric, empty in [
            (True, "relu", False, "skip"),
            (True, "elu", True, "background"),
            (False, "elu", True, "keep"),
        ]
    ),
]
SOFTMAX_TERMS = [
    {"name": "cross_entropy", "weight": 1.0, "label_smoothing": 0.1},
    {"name": "soft_dice", "weight": 1.0, "per_image": True, "smooth": 1.0},
    {"name": "soft_jaccard", "weight": 1.0, "per_image": False, "smooth": 1.0},
    {"name": "focal", "weight": 1.0, "alpha": 0.25, "gamma": 2.0},
    {"name": "focal", "weight": 1.0, "alpha": None, "gamma": 0.5},
    {"name": "lovasz_softmax", "weight": 1.0, "classes": "present", "per_image": True},
    {"name": "lovasz_softmax", "weight": 1.0, "classes": "all", "per_image": False},
]


def built(*terms):
    return WeightedSum(TypeAdapter(list[LossTerm]).validate_python(list(terms)))


def label(term):
    return "-".join(str(value) for key, value in term.items() if key != "weight")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sigmoid_case(n=2, channels=2, size=5):
    logits = 2 * torch.randn(n, channels, size, size, generator=generator(1), dtype=torch.float64)
    target = (torch.rand(logits.shape, generator=generator(2)) < 0.3).double()
    return logits, target


def softmax_case(n=2, channels=3, size=5):
    logits, _ = sigmoid_case(n, channels, size)
    return logits, torch.randint(0, channels, (n, size, size), generator=generator(3))


def probabilities(logits):
    return 1 / (1 + np.exp(-logits.numpy()))


def bce_by_hand(logits, target):
    p, y = probabilities(logits), target.numpy()
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def softmax_by_hand(logits):
    powers = np.exp(logits.numpy())
    return powers / powers.sum(1, keepdims=True)


def one_hot(target, channels):
    return np.moveaxis(np.eye(channels)[target.numpy()], -1, 1)


# Formulas


def test_bce_is_its_formula():
    logits, target = sigmoid_case()
    value = cross_entropy.bce(logits, target, label_smoothing=0.0).item()
    assert value == pytest.approx(bce_by_hand(logits, target), rel=1e-12)


def test_bce_label_smoothing_is_the_formula_with_two_classes():
    logits, target = sigmoid_case()
    value = cross_entropy.bce(logits, target, label_smoothing=0.2).item()
    smoothed = target * (1 - 0.2) + 0.2 / 2
    assert value == pytest.approx(bce_by_hand(logits, smoothed), rel=1e-12)
    two = torch.stack([torch.zeros_like(logits[:, 0]), logits[:, 0]], 1)
    of_two = cross_entropy.cross_entropy(two, target[:, 0].long(), label_smoothing=0.2)
    of_one = cross_entropy.bce(logits[:, :1], target[:, :1], label_smoothing=0.2)
    assert of_two.item() == pytest.approx(of_one.item(), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_its_formula(smoothing):
    logits, target = softmax_case()
    y = one_hot(target, 3) * (1 - smoothing) + smoothing / 3
    expected = -np.mean(np.sum(y * np.log(softmax_by_hand(logits)), axis=1))
    value = cross_entropy.cross_entropy(logits, target, label_smoothing=smoothing).item()
    assert value == pytest.approx(expected, rel=1e-12)
    assert value == pytest.approx(
        functional.cross_entropy(logits, target, label_smoothing=smoothing).item(), rel=1e-12
    )


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("smooth", [1.0, 1e-13])
def test_bce_minus_ln_dice_is_the_formula(per_image, smooth):
    logits, target = sigmoid_case()
    p, y = probabilities(logits), target.numpy()
    axes = (2, 3) if per_image else (0, 2, 3)
    dice = (2 * (y * p).sum(axes) + smooth) / (y.sum(axes) + p.sum(axes) + smooth)
    value = dice_losses.bce_minus_ln_dice(
        logits, target, per_image=per_image, smooth=smooth, label_smoothing=0.0
    ).item()
    assert value == pytest.approx(bce_by_hand(logits, target) - np.mean(np.log(dice)), rel=1e-11)


def test_bce_minus_ln_dice_without_smoothing_or_batch_is_the_plain_formula():
    logits, target = sigmoid_case(n=1, channels=1)
    p, y = probabilities(logits), target.numpy()
    dice = 2 * (y * p).sum() / (y.sum() + p.sum())
    value = dice_losses.bce_minus_ln_dice(
        logits, target, per_image=True, smooth=1e-13, label_smoothing=0.0
    ).item()
    assert value == pytest.approx(bce_by_hand(logits, target) - math.log(dice), rel=1e-11)


def test_label_smoothing_leaves_the_dice_alone():
    logits, target = sigmoid_case()
    values = [
        dice_losses.bce_minus_ln_dice(
            logits, target, per_image=True, smooth=1.0, label_smoothing=smoothing
        )
        - cross_entropy.bce(logits, target, label_smoothing=smoothing)
        for smoothing in (0.0, 0.3)
    ]
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_soft_dice_and_jaccard_are_their_formulas(per_image, kind):
    if kind == "sigmoid":
        logits, target = sigmoid_case()
        p, y = probabilities(logits), target.numpy()
    else:
        logits, target = softmax_case()
        p, y = softmax_by_hand(logits), one_hot(target, 3)
    axes = (2, 3) if per_image else (0, 2, 3)
    both, sizes = (y * p).sum(axes), y.sum(axes) + p.sum(axes)
    soft = dice_losses.soft_dice(logits, target, per_image=per_image, smooth=2.0).item()
    jaccard = dice_losses.soft_jaccard(logits, target, per_image=per_image, smooth=2.0).item()
    assert soft == pytest.approx(np.mean(1 - (2 * both + 2) / (sizes + 2)), rel=1e-12)
    assert jaccard == pytest.approx(np.mean(1 - (both + 2) / (sizes - both + 2)), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_is_its_formula(alpha, gamma):
    logits, target = sigmoid_case()
    p, y = probabilities(logits), target.numpy()
    p_t = np.where(y == 1, p, 1 - p)
    weight = 1 if alpha is None else np.where(y == 1, alpha, 1 - alpha)
    expected = np.mean(-weight * (1 - p_t) ** gamma * np.log(p_t))
    assert focal.focal(logits, target, alpha=alpha, gamma=gamma).item() == pytest.approx(
        expected, rel=1e-12
    )
    logits, target = softmax_case()
    p_t = (softmax_by_hand(logits) * one_hot(target, 3)).sum(1)
    expected = np.mean(-(alpha or 1) * (1 - p_t) ** gamma * np.log(p_t))
    assert focal.focal(logits, target, alpha=alpha, gamma=gamma).item() == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("term", SIGMOID_TERMS, ids=label)
def test_gradients_of_sigmoid_losses(term):
    logits, target = sigmoid_case(size=3)
    loss = built(term)
    assert torch.autograd.gradcheck(lambda x: loss(x, target)[0], logits.requires_grad_())


@pytest.mark.parametrize("term", SOFTMAX_TERMS, ids=label)
def test_gradients_of_softmax_losses(term):
    logits, target = softmax_case(size=3)
    loss = built(term)
    assert torch.autograd.gradcheck(lambda x: loss(x, target)[0], logits.requires_grad_())


# Agreement with smp where it means the same


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_binary_focal_agrees_with_smp(alpha):
    logits, target = sigmoid_case()
    theirs = FocalLoss("binary", alpha=alpha, gamma=2.0)(logits, target)
    torch.testing.assert_close(focal.focal(logits, target, alpha=alpha, gamma=2.0), theirs)


def test_smps_focal_has_no_gradient_where_ours_has():
    logits = torch.tensor([[[[200.0]]]], requires_grad=True)
    target = torch.ones(1, 1, 1, 1)
    theirs = torch.autograd.grad(FocalLoss("binary", gamma=0.5)(logits, target), logits)[0]
    ours = torch.autograd.grad(focal.focal(logits, target, alpha=0.25, gamma=0.5), logits)[0]
    assert theirs.isnan().all()
    assert ours.item() == 0


@pytest.mark.parametrize("smooth", [1e-12, 3.0])
def test_pooled_dice_and_jaccard_agree_with_smp_where_there_is_foreground(smooth):
    logits, target = sigmoid_case()
    dice = DiceLoss("multilabel", smooth=smooth / 2)(logits, target)
    jaccard = JaccardLoss("multilabel", smooth=smooth)(logits, target)
    settings = {"per_image": False, "smooth": smooth}
    torch.testing.assert_close(dice_losses.soft_dice(logits, target, **settings), dice)
    torch.testing.assert_close(dice_losses.soft_jaccard(logits, target, **settings), jaccard)
    logits, target = softmax_case()
    dice = DiceLoss("multiclass", smooth=smooth / 2)(logits, target)
    torch.testing.assert_close(dice_losses.soft_dice(logits, target, **settings), dice)


def test_smps_dice_teaches_nothing_on_the_open_sea_and_ours_does():
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    target = torch.zeros(2, 1, 4, 4)
    theirs = torch.autograd.grad(DiceLoss("binary")(logits, target), logits)[0]
    ours = dice_losses.soft_dice(logits, target, per_image=False, smooth=1.0)
    assert (theirs == 0).all()
    assert (torch.autograd.grad(ours, logits)[0] > 0).all()


# The empty case, and other extremes


def test_ln_dice_of_an_image_without_ships():
    logits = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.zeros_like(logits)
    settings = {"per_image": True, "smooth": 1.0, "label_smoothing": 0.0}
    value = dice_losses.bce_minus_ln_dice(logits, target, **settings)
    assert value.item() == pytest.approx(math.log(2) + math.log(1 + 8 / 1.0))
    value.backward()
    assert (logits.grad > 0).all()
    nothing_predicted = dice_losses.bce_minus_ln_dice(logits - 1e4, target, **settings)
    assert nothing_predicted.item() == 0


def test_per_image_and_batch_differ_only_for_several_images():
    logits, target = sigmoid_case()
    for function in (dice_losses.soft_dice, dice_losses.soft_jaccard):
        of_image = [function(logits, target, per_image=p, smooth=1.0) for p in (True, False)]
        assert abs(of_image[0] - of_image[1]) > 1e-6
        one = [function(logits[:1], target[:1], per_image=p, smooth=1.0) for p in (True, False)]
        torch.testing.assert_close(*one)


def sigmoid_extremes():
    noise = torch.randn(3, 2, 8, 8, generator=generator(4))
    empty, full = torch.zeros(3, 2, 8, 8), torch.ones(3, 2, 8, 8)
    some = (torch.rand(3, 2, 8, 8, generator=generator(5)) < 0.2).float()
    mixed = some.clone()
    mixed[0], mixed[1] = 0, 1
    for target in (empty, full, some, mixed):
        yield noise, target
        yield torch.zeros_like(noise), target
        yield 1e4 * (1 - 2 * target), target
        yield 1e4 * (2 * target - 1), target


def softmax_extremes():
    noise = torch.randn(3, 3, 8, 8, generator=generator(4))
    some = torch.randint(0, 3, (3, 8, 8), generator=generator(5))
    for target in (torch.zeros_like(some), torch.full_like(some, 2), some):
        truth = functional.one_hot(target, 3).movedim(-1, 1).float()
        yield noise, target
        yield torch.zeros_like(noise), target
        yield 1e4 * (1 - 2 * truth), target
        yield 1e4 * (2 * truth - 1), target


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("term", "cases"),
    [
        *(pytest.param(t, sigmoid_extremes, id=label(t)) for t in SIGMOID_TERMS),
        *(pytest.param(t, softmax_extremes, id=f"softmax-{label(t)}") for t in SOFTMAX_TERMS),
    ],
)
def test_values_and_gradients_are_finite(term, cases, dtype):
    loss = built(term)
    for logits, target in cases():
        leaf = logits.to(dtype).requires_grad_()
        value, parts = loss(leaf, target)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert value >= 0
        assert leaf.grad.isfinite().all()
        assert not parts[term["name"]].requires_grad


@pytest.mark.parametrize("term", SIGMOID_TERMS, ids=label)
def test_all_right_is_zero_and_all_wrong_is_not(term):
    _, target = sigmoid_case()
    loss = built(term | ({"label_smoothing": 0.0} if "label_smoothing" in term else {}))
    signs = (2 * target - 1).float()
    assert loss(1e4 * signs, target)[0] == pytest.approx(0, abs=1e-6)
    assert loss(-1e4 * signs, target)[0] > 0.4


# Composition


def test_the_total_is_the_weighted_sum_and_parts_are_unweighted():
    terms = [SIGMOID_TERMS[0] | {"weight": 0.5}, SIGMOID_TERMS[1] | {"weight": 3.0}]
    logits, target = sigmoid_case()
    total, parts = built(*terms)(logits.requires_grad_(), target)
    assert list(parts) == ["bce", "soft_dice"]
    torch.testing.assert_close(total.detach(), 0.5 * parts["bce"] + 3 * parts["soft_dice"])
    total.backward()
    assert logits.grad.abs().sum() > 0


def test_uint8_and_bool_truth_equal_float_truth():
    logits, target = sigmoid_case()
    loss = built(SIGMOID_TERMS[4])
    values = [loss(logits, target.to(t))[0] for t in (torch.float64, torch.uint8, torch.bool)]
    assert len({value.item() for value in values}) == 1


@pytest.mark.parametrize("term", SIGMOID_TERMS, ids=label)
def test_half_precision_and_autocast_compute_in_float32(term):
    logits, target = sigmoid_case(size=16)
    halves = logits.bfloat16()
    expected = built(term)(halves.float(), target)[0]
    with torch.autocast("cpu", torch.bfloat16):
        value = built(term)(halves, target)[0]
    torch.testing.assert_close(value, expected, rtol=0, atol=0)


class NoWaiting(TorchDispatchMode):
    """Fails on the operations that make the host wait for a device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "masked_select", "equal"}, name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("term", "case"),
    [
        *(pytest.param(t, sigmoid_case, id=label(t)) for t in SIGMOID_TERMS),
        *(pytest.param(t, softmax_case, id=f"softmax-{label(t)}") for t in SOFTMAX_TERMS),
    ],
)
def test_no_step_waits_for_the_device(term, case):
    logits, target = case()
    loss = built(term)
    with NoWaiting():
        loss(logits.requires_grad_(), target)[0].backward()


def test_the_guard_against_waiting_notices_it():
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        torch.ones(1).item()


# Bad input


@pytest.mark.parametrize(
    ("name", "logits", "target", "expected"),
    [
        ("bce", (2, 1, 4, 4), torch.zeros(2, 4, 4), r"\(2, 1, 4, 4\).*float32.*\(2, 4, 4\)"),
        ("bce", (2, 1, 4, 4), torch.zeros(2, 2, 4, 4), r"\(2, 2, 4, 4\)"),
        ("bce", (2, 3, 4, 4), torch.zeros(2, 4, 4).long(), "0/1 of the logits' shape, got"),
        ("bce", (2, 4, 4), torch.zeros(2, 4, 4), r"\(N, C, H, W\)"),
        ("bce", (0, 1, 4, 4), torch.zeros(0, 1, 4, 4), r"\(0, 1, 4, 4\)"),
        ("cross_entropy", (2, 3, 4, 4), torch.zeros(2, 3, 4, 4), "int64 class indices"),
        ("cross_entropy", (2, 3, 4, 4), torch.zeros(2, 4, 4), "float32"),
        ("cross_entropy", (2, 1, 4, 4), torch.zeros(2, 4, 4).long(), "two logit channels"),
        ("focal", (2, 3, 4, 4), torch.zeros(2, 5, 4).long(), "0/1 .* or int64"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, logits, target, expected):
    term = next(t for t in SIGMOID_TERMS + SOFTMAX_TERMS if t["name"] == name)
    with pytest.raises(ValueError, match=f"(?s){name}: .*{expected}"):
        built(term)(torch.zeros(logits), target)


def test_a_term_twice_and_no_term_are_errors():
    with pytest.raises(ConfigError, match="one or more different terms, got \\['bce', 'bce'\\]"):
        built(SIGMOID_TERMS[0], SIGMOID_TERMS[0] | {"weight": 2.0})
    with pytest.raises(ConfigError, match="one or more"):
        built()


@pytest.mark.parametrize(
    "term",
    [
        {"name": "unknown", "weight": 1.0},
        {"name": "bce", "weight": 1.0},
        {"name": "bce", "weight": 0.0, "label_smoothing": 0.0},
        {"name": "bce", "weight": 1.0, "label_smoothing": 1.0},
        {"name": "bce", "weight": 1.0, "label_smoothing": 0.0, "gamma": 2.0},
        {"name": "soft_dice", "weight": 1.0, "per_image": True, "smooth": 0.0},
        {"name": "focal", "weight": 1.0, "alpha": 0.25, "gamma": -1.0},
    ],
    ids=str,
)
def test_the_schema_refuses(term):
    with pytest.raises(ValidationError):
        built(term)
