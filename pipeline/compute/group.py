"""Several processes that train one network, each on its share of every batch (DDP).

They compute what one process would with the whole batch, up to rounding: crops are those of one
process, dealt out; BatchNorm's statistics and the loss are those of the whole batch; gradients are
summed. So any number of processes can resume a state that another number has saved.

A process knows its group by torchrun's variables. Without them it is a group of one, in which
everything here does nothing.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.compute.batchnorm import WholeBatchStatistics
from pipeline.config.machine import Machine
from pipeline.errors import ConfigError

LOG = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Group:
    """The processes, as one of them sees them.

    Attributes:
        rank: Which one this is; 0 leads: it alone writes.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    @contextmanager
    def joined(cls, machine: Machine) -> "Iterator[Group]":
        """Join the group that torchrun's variables name, and leave it in the end.

        Whatever is raised inside ends this process: with the code of a SystemExit, else with 1.

        Raises:
            ConfigError: This process has no GPU to itself.
        """
        cuda = machine.device != "cpu" and torch.cuda.is_available()
        if cuda:
            local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if local >= gpus:
                raise ConfigError(
                    f"process {local} of this machine sees {gpus} GPUs; expected one for each "
                    "process. Start fewer (torchrun --nproc-per-node), or machine.device=cpu."
                )
            torch.cuda.set_device(local)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        try:
            yield cls.current()
        except BaseException as error:
            # To leave the group, or to exit in the ordinary way, may wait for the others, and they
            # for this one. Whoever started them sees it end, and ends them.
            code = error.code if isinstance(error, SystemExit) else None
            if code is None:
                LOG.exception("process %d of the group failed", dist.get_rank())
            logging.shutdown()
            os._exit(code if isinstance(code, int) else 1)
        dist.destroy_process_group()

    @classmethod
    def current(cls) -> "Group":
        """Return the group that this process has joined, else one of it alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process writes what the group has computed."""
        return self.rank == 0

    def shared(self, network: Network, device: torch.device) -> Network:
        """Return the network; on GPUs its BatchNorm is over the whole batch. Weights stay the same.

        On CPUs `whole_batch_statistics` does that.
        """
        if self.size > 1 and device.type == "cuda":
            from timm.layers import convert_sync_batchnorm

            network = convert_sync_batchnorm(network)
        return network

    def whole_batch_statistics(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context in which BatchNorm on a CPU is over the whole batch, backward too."""
        on_cpus = self.size > 1 and device.type == "cpu"
        return WholeBatchStatistics() if on_cpus else nullcontext()

    def forward(self, network: nn.Module) -> nn.Module:
        """Return what computes the network so that backward sums the group's gradients."""
        if self.size == 1:
            return network
        # BatchNorm's statistics are the same everywhere already.
        return DistributedDataParallel(
            network, forward_sync_buffers=False, find_unused_parameters=True
        )

    def whole(self, own: Tensor) -> Tensor:
        """Return all processes' tensors (N, ...) along axis 0; gradients reach the own one.

        A loss of the whole batch has then the right gradient in each process, whatever its form.
        DDP divides by the number of processes, so the loss is to be multiplied by it.
        """
        if self.size == 1:
            return own
        parts = [own.new_empty(own.shape) for _ in range(self.size)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)

    def sum(self, *tensors: Tensor) -> None:
        """Add up each tensor over the group, in place."""
        for tensor in tensors if self.size > 1 else ():
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set in some process; all meet here."""
        if self.size == 1:
            return flag
        raised = torch.tensor(int(flag))
        dist.all_reduce(raised)
        return bool(raised)

    def decided(self, decide: Callable[[], Value]) -> Value:
        """Let the leader decide; return its decision in every process, a plain value."""
        values: list[Any] = [decide() if self.leads else None]
        if self.size > 1:
            dist.broadcast_object_list(values)
        decision: Value = values[0]
        return decision
