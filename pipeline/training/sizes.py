"""Sizes that the configuration leaves open: `auto` for the crops' pixels and for their number.

The network and the device enter; numbers leave, printed, and kept in `sizes.json`, so that a run
that resumes, even elsewhere, keeps them. What a crop needs is counted on shapes alone, on
torch's meta device: the bytes that the forward pass keeps for the backward pass.
"""

import logging
from copy import deepcopy

import torch

from pipeline.compute.device import Device
from pipeline.config.schema import Crops
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.job import Job
from pipeline.networks.build import SegmentationNetwork

LOG = logging.getLogger(__name__)
PARTS_OF_SIDE = (1.0, 2 / 3, 1 / 2, 1 / 3, 1 / 4)
"""Crops are the whole image, or the largest of these parts of it of which MIN_CROPS fit."""

MIN_CROPS, MAX_CROPS = 8, 32
"""Crops a step: fewer make BatchNorm noisy, more on each device do not make it faster."""

MAX_PX_ON_CPU, MAX_CROPS_ON_CPU = 256, 8
"""On a CPU time ends before memory does: more and smaller steps."""

WEIGHTS = 5
"""Copies of the weights: themselves, gradients, the optimiser's two moments, the average."""

USED_SHARE = 0.7
"""Of the free memory; convolutions need workspace, and allocators leave gaps."""


def decide_sizes(
    job: Job,
    crops: Crops,
    network: SegmentationNetwork,
    device: Device,
    side_px: int,
    *,
    processes: int,
) -> Crops:
    """Return the section with numbers in place of `auto`.

    Args:
        job: Its folder keeps the numbers.
        crops: The section.
        network: That is to be trained.
        device: That it will be trained on.
        side_px: The shorter side of the images, of half of them at least.
        processes: That share a batch, each on a device like this one.

    Raises:
        ArtifactError: sizes.json is damaged.
        ConfigError: The processes cannot share the crops of an epoch.
    """
    if "auto" not in (crops.size_px, crops.batch_size):
        return crops
    path = job.folder / "sizes.json"
    if not path.is_file():
        free = device.free_bytes()
        write_json(path, _decide(crops, network, device, side_px, free=free, processes=processes))
        LOG.info(
            "%s: sizes for %.1f GiB of free memory on %s", job.label, free / 2**30, device.name
        )
    sizes = read_json(path)
    LOG.info(
        "%s: auto is crops.size_px=%d crops.batch_size=%d",
        *(job.label, sizes["size_px"], sizes["batch_size"]),
    )
    return crops.model_copy(update=sizes)


def _decide(
    crops: Crops,
    network: SegmentationNetwork,
    device: Device,
    side_px: int,
    *,
    free: int,
    processes: int,
) -> dict[str, int]:
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    usable = USED_SHARE * (free - WEIGHTS * weights)

    def fitting(size_px: int) -> int:
        needed = kept_bytes(network, size_px) * device.dtype.itemsize / 4
        return max(int(usable / needed), 1) * processes

    if crops.size_px != "auto":
        size_px = crops.size_px
    else:
        longest = side_px if device.is_cuda else min(side_px, MAX_PX_ON_CPU)
        sides = [max(int(longest * part) // 32 * 32, 32) for part in PARTS_OF_SIDE]
        wanted = MIN_CROPS if crops.batch_size == "auto" else crops.batch_size
        size_px = next((side for side in sides if fitting(side) >= wanted), sides[-1])
    if crops.batch_size != "auto":
        return {"size_px": size_px, "batch_size": crops.batch_size}
    most = min(fitting(size_px), (MAX_CROPS if device.is_cuda else MAX_CROPS_ON_CPU) * processes)
    sizes = [size for size in range(processes, most + 1, processes) if crops.per_epoch % size == 0]
    if not sizes:
        raise ConfigError(
            f"crops.per_epoch: {crops.per_epoch}: expected a multiple of {processes}, the number "
            "of processes that share a batch."
        )
    return {"size_px": size_px, "batch_size": sizes[-1]}


def kept_bytes(network: SegmentationNetwork, size_px: int) -> int:
    """Return what a float32 forward pass keeps for the backward pass, in bytes a crop."""
    images = torch.empty(2, 3, size_px, size_px, dtype=torch.uint8, device="meta")
    shapes = deepcopy(network).to("meta").train()
    weights = {id(tensor.untyped_storage()) for tensor in shapes.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in weights:
            kept[id(storage)] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shapes(images)
    return sum(storage.nbytes() for storage in kept.values()) // len(images)
