"""Every network beside the others: its paper, its size, and how fast this machine runs it.

A configuration enters for the size of a crop and for its encoder, which every architecture that
takes any encoder is shown with; an architecture bound to an encoder keeps its own. Rows leave, one
a network. Parameters and multiply-adds are counted on shapes alone; speed is measured.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from pipeline.compute.device import Device
from pipeline.config.architectures import OWN, architectures
from pipeline.config.code_file import CodeFile
from pipeline.config.networks import Network
from pipeline.config.schema import Config
from pipeline.errors import ConfigError
from pipeline.networks.build import SegmentationNetwork, build_network, build_random
from pipeline.networks.check import check_network
from pipeline.networks.input_sizes import on_shapes

BATCH_SIZE = 2
"""Images per measured pass: enough for any batch normalisation, few enough for a small machine."""

_MIN_MEASURED_S = 0.4
_LONG_S = 3.0


@dataclass(frozen=True)
class Row:
    """One network at one size.

    Attributes:
        encoder: Its encoder, or `-`.
        paper: Author and year.
        parameters: Trainable numbers that an image's logits depend on.
        macs: Multiply-adds for one image, forward.
        forward_per_s: Images per second, evaluating.
        step_per_s: Images per second, training (forward, backward, AdamW).
        problem: Why there is nothing to show; empty if there is.
    """

    arch: str
    encoder: str
    paper: str
    parameters: int = 0
    macs: int = 0
    forward_per_s: float = 0.0
    step_per_s: float = 0.0
    problem: str = ""


def network_of(config: Config, arch: str) -> Network:
    """Return the section that the table shows `arch` with, at random weights.

    The configuration's own architecture keeps its options; the others have their default ones.
    """
    if arch == config.network.arch:
        return config.network.model_copy(update={"weights": "none"})
    shown, own = architectures()[arch], architectures().get(config.network.arch, OWN)
    encoder = shown.shown_with
    if encoder is None and shown.encoders is not None:
        encoder = next(iter(shown.encoders), None)
    elif encoder is None:
        encoder = config.network.encoder if own.encoders is None else "resnet34"
    return Network(arch=arch, encoder=encoder, weights="none", options={})


def rows(config: Config, device: Device) -> Iterator[Row]:
    """Count and measure every network at the configuration's crop size, one after the other."""
    size_px, _ = config.crops.fixed_sizes()
    is_own = CodeFile.named(config.network.arch) is not None
    shown = ({config.network.arch: OWN} if is_own else {}) | architectures()
    for arch, architecture in shown.items():
        section = network_of(config, arch)
        encoder = section.encoder or "-"
        try:
            check_network(section, 1, size_px)
            parameters, macs = count(section, size_px)
            network = device.place(build_network(section, channels=1))
        except ConfigError as error:
            yield Row(arch, encoder, architecture.paper, problem=str(error))
            continue
        forward, step = speeds(network, size_px, device)
        yield Row(arch, encoder, architecture.paper, parameters, macs, forward, step)


def count(section: Network, size_px: int) -> tuple[int, int]:
    """Return the parameters and the multiply-adds for one square image, on shapes alone.

    Parameters that no gradient reaches, such as an encoder's last layers behind PSPNet's features,
    are not the network's.

    Raises:
        ConfigError: The network cannot be built.
    """
    network = on_shapes(lambda: build_random(section, channels=1, image_head=False))
    image = torch.zeros(1, 3, size_px, size_px, device="meta")
    with FlopCounterMode(display=False) as counter:
        logits = network(image).logits_nchw
    logits.sum().backward()
    used = sum(p.numel() for p in network.parameters() if p.grad is not None)
    return used, counter.get_total_flops() // 2


def speeds(network: SegmentationNetwork, size_px: int, device: Device) -> tuple[float, float]:
    """Return how many square images a second the network takes, evaluating and training."""
    images = torch.randint(0, 256, (BATCH_SIZE, 3, size_px, size_px), dtype=torch.uint8)
    images = device.move(images)
    optimizer = torch.optim.AdamW(network.parameters())

    def forward() -> None:
        with torch.inference_mode(), device.autocast():
            network(images)

    def step() -> None:
        with device.autocast():
            logits = network(images).logits_nchw
        optimizer.zero_grad()
        F.softplus(logits.float()).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    network.eval()
    evaluating = _images_per_s(forward, device)
    network.train()
    return evaluating, _images_per_s(step, device)


def _images_per_s(work: Callable[[], None], device: Device) -> float:
    """Take the fastest of several calls; the first counts only where it is long by itself."""
    best_s = _seconds(work, device)
    if best_s < _LONG_S:
        best_s, total_s = float("inf"), 0.0
        while total_s < _MIN_MEASURED_S:
            taken_s = _seconds(work, device)
            best_s, total_s = min(best_s, taken_s), total_s + taken_s
    return BATCH_SIZE / best_s


def _seconds(work: Callable[[], None], device: Device) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: Device) -> None:
    if device.is_cuda:
        torch.cuda.synchronize()
