"""What computes the network in a training step: itself, or what the configuration makes of it.

`machine.checkpoint_activations` spends time to save memory: the repeated blocks of a network, which
stand in its lists (a ResNet's, a decoder's), keep only their inputs, and what is between is
computed again for the backward pass. `machine.compile` spends minutes to save time.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.compute.batchnorm import BATCH_NORMS
from pipeline.compute.group import Group
from pipeline.config.machine import Machine
from pipeline.errors import ConfigError
from pipeline.networks.build import Prediction, SegmentationNetwork

Forward = Callable[[torch.Tensor], Prediction]


def build_forward(network: SegmentationNetwork, machine: Machine, group: Group) -> Forward:
    """Return what computes `network`, whose blocks may be changed in place, in each of a group.

    Raises:
        ConfigError: It has no blocks to compute again; or, at the first call, cannot be compiled.
    """
    if machine.checkpoint_activations:
        recompute_blocks(network)
    forward = group.forward(network)
    return _Compiled(forward) if machine.compile else forward


class _Compiled:
    """A network that is compiled when it is first called."""

    def __init__(self, network: nn.Module) -> None:
        self._compiled: Forward = torch.compile(network)

    def __call__(self, images: torch.Tensor) -> Prediction:
        # torch.compiler has no name for it; a test holds that it is raised. Slow to import.
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._compiled(images)
        except TorchDynamoException as error:
            raise ConfigError(
                "machine.compile: true: torch could not compile this network on this machine "
                f"({' '.join(str(error).split())[:300]}). Install a C++ compiler if there is none, "
                "or set machine.compile=false."
            ) from error


def recompute_blocks(network: nn.Module) -> int:
    """Let a network's blocks keep their inputs only; return how many blocks there are.

    Args:
        network: Changed in place; the names of its weights stay.

    Raises:
        ConfigError: It has no such blocks.
    """
    blocks = list(_blocks(network, is_listed=False))
    if not blocks:
        raise ConfigError(
            "machine.checkpoint_activations: true: this network has no list of blocks whose "
            "activations could be computed again. Set it to false, and machine.accumulate to auto."
        )
    for block in blocks:
        again = partial(_contexts, block)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=again)
    return len(blocks)


def _blocks(module: nn.Module, *, is_listed: bool) -> Iterator[nn.Module]:
    """Yield the outermost members of lists that hold two convolutions or more."""
    if is_listed and sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1:
        yield module
        return
    is_list = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        yield from _blocks(child, is_listed=is_list)


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Keep BatchNorm, of whatever kind, from counting the batch a second time."""
    norms = [part for part in block.modules() if isinstance(part, BATCH_NORMS)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, (_, count) in zip(norms, before, strict=True):
        # The count is a copy, not None: SyncBatchNorm does not do without one.
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
