"""Time of the Lovász losses on a whole batch against a loop over its images, forward and backward.

    python -m tests.bench.lovasz [threads]

The loop is the form the loss is published and used in: per image (and class) one sort, one gather,
the Jaccard losses of the ordering and their differences. Both run in the same process, alternating;
the shortest times are printed, since other work on the machine slows the many small steps of the
loop most. On a machine with CUDA the GPU is measured too.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from pipeline.training.losses.lovasz import lovasz_hinge, lovasz_softmax
from tests.bench.sizes import sized

IMAGES, SIZE_PX, CLASSES, REPEATS = sized((16, 256, 3, 9), (2, 16, 3, 1))


def looped_extension(errors_p: torch.Tensor, truth_p: torch.Tensor) -> torch.Tensor:
    ordered, order = torch.sort(errors_p, descending=True)
    truth = truth_p[order]
    jaccard = 1 - (truth.sum() - truth.cumsum(0)) / (truth.sum() + (1 - truth).cumsum(0))
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return torch.dot(ordered, jaccard)


def looped_hinge(logits_nchw: torch.Tensor, target_nchw: torch.Tensor) -> torch.Tensor:
    losses = []
    for logits, target in zip(logits_nchw.flatten(1), target_nchw.flatten(1), strict=True):
        errors = torch.relu(1 - logits * (2 * target - 1))
        losses.append(looped_extension(errors, target))
    return torch.stack(losses).mean()


def looped_softmax(logits_nkhw: torch.Tensor, target_nhw: torch.Tensor) -> torch.Tensor:
    losses = []
    for probabilities, target in zip(logits_nkhw.softmax(1), target_nhw, strict=True):
        of_classes = []
        for index, probability in enumerate(probabilities):
            truth = (target == index).to(probability.dtype).flatten()
            if truth.any():
                errors = (truth - probability.flatten()).abs()
                of_classes.append(looped_extension(errors, truth))
        losses.append(torch.stack(of_classes).mean())
    return torch.stack(losses).mean()


def step_s(
    loss: Callable[..., torch.Tensor], logits: torch.Tensor, target: torch.Tensor
) -> tuple[float, float, torch.Tensor]:
    leaf = logits.clone().requires_grad_()
    if leaf.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    value = loss(leaf, target)
    value.backward()
    if leaf.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started, value.item(), leaf.grad


class Comparison(NamedTuple):
    """The loop and the batch on the same logits: shortest times, and how far their answers are."""

    name: str
    loop_ms: float
    batch_ms: float
    difference: float
    difference_in_float64: float
    largest_gradient_difference: float

    @property
    def ratio(self) -> float:
        """How many times as fast the batch is."""
        return self.loop_ms / self.batch_ms


def compare(
    name: str,
    loop: Callable[..., torch.Tensor],
    batch: Callable[..., torch.Tensor],
    logits: torch.Tensor,
    target: torch.Tensor,
) -> Comparison:
    for loss in (loop, batch):
        step_s(loss, logits, target)
    times: dict[str, list[float]] = {"loop": [], "batch": []}
    for _ in range(REPEATS):
        loop_s, loop_value, loop_grad = step_s(loop, logits, target)
        batch_s, batch_value, batch_grad = step_s(batch, logits, target)
        times["loop"].append(loop_s)
        times["batch"].append(batch_s)
    exact = loop(logits.double(), target if target.dtype == torch.int64 else target.double())
    return Comparison(
        name,
        *(1e3 * min(t) for t in times.values()),
        abs(batch_value - loop_value),
        abs(batch_value - exact.item()),
        (batch_grad - loop_grad).abs().max().item(),
    )


def comparisons(device: str) -> Iterator[Comparison]:
    """Compare the hinge on random and on trained logits, and the softmax on random ones."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(IMAGES, CLASSES, SIZE_PX, SIZE_PX, generator=generator)
    classes = torch.rand(IMAGES, SIZE_PX, SIZE_PX, generator=generator)
    target_nhw = (classes < 0.02).long() + (classes < 0.005).long()
    target_nchw = (target_nhw[:, None] > 0).float()
    trained = logits[:, :1] + 6 * target_nchw - 3
    for name, scores in (("hinge, random", logits[:, :1]), ("hinge, trained", trained)):
        yield compare(
            name,
            looped_hinge,
            lambda x, y: lovasz_hinge(
                x, y, per_image=True, margin="relu", symmetric=False, empty="keep"
            ),
            scores.to(device),
            target_nchw.to(device),
        )
    yield compare(
        "softmax, random",
        looped_softmax,
        lambda x, y: lovasz_softmax(x, y, classes="present", per_image=True),
        logits.to(device),
        target_nhw.to(device),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("threads", nargs="?", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    print(f"{IMAGES} x {SIZE_PX}², {torch.get_num_threads()} threads, shortest of {REPEATS}")
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for one in comparisons(device):
            print(
                f"{device:4s} {one.name:15s} loop {one.loop_ms:7.2f} ms  "
                f"batch {one.batch_ms:7.2f} ms  ratio {one.ratio:5.2f}  "
                f"|batch - loop| {one.difference:.1e}  "
                f"|batch - loop in float64| {one.difference_in_float64:.1e}  "
                f"largest gradient difference {one.largest_gradient_difference:.1e}"
            )


if __name__ == "__main__":
    main()
