"""What to compute on, and in which precision.

The `machine` section enters; a `Device` leaves that places networks and batches. Forward passes
run in half precision where that is faster: in bfloat16 on CUDA and on CPUs with matrix instructions
for it (AMX), in float16 with a gradient scaler on cards without bfloat16. Weights, their average,
BatchNorm's statistics, losses and probabilities are float32 everywhere; resampling computes in
float32 and rounds its result. What is begun in one precision is finished in it.
"""

import ctypes
import gc
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from pipeline.config.machine import Machine
from pipeline.errors import ConfigError

LOG = logging.getLogger(__name__)

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

MAX_WORKERS = 8
CORES_A_WORKER = 4
"""On a CPU loading takes a tenth of a step's time or less; one process keeps four cores fed."""

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Device:
    """Where to compute, in which type forward passes do (float32: no autocast), and what loads."""

    where: torch.device
    dtype: torch.dtype
    loader_workers: int

    @classmethod
    def choose(cls, machine: Machine) -> "Device":
        """Choose the device that the configuration names and this machine has.

        Raises:
            ConfigError: CUDA was asked for and is not there.
        """
        available = torch.cuda.is_available()
        if machine.device == "cuda" and not available:
            raise ConfigError(
                "machine.device: cuda: this machine's torch sees no CUDA device "
                f"(torch {torch.__version__}). Use machine.device=auto, or install a CUDA build."
            )
        if machine.threads is not None:
            torch.set_num_threads(machine.threads)
        is_cuda = available and machine.device != "cpu"
        if not is_cuda:
            _keep_freed_memory()
        dtype = _half(is_cuda) if machine.amp else torch.float32
        where = torch.device("cuda" if is_cuda else "cpu")
        return cls(where, dtype, _workers(machine, is_cuda=is_cuda))

    def resuming(self, label: str, precisions: list[str], machine: Machine) -> "Device":
        """Return the device as it goes on with work, in the precision that it was last done in.

        Args:
            label: The work, as messages name it.
            precisions: That it was done in until now, the latest last; none if it begins. The one
                that it goes on in is added, if it is another.
            machine: Says whether float32 may stand in for half precision that is missing here.

        Raises:
            ConfigError: It may not.
        """
        before = precisions[-1] if precisions else self.precision
        dtype: torch.dtype = getattr(torch, before)
        if dtype not in {torch.float32, _half(self.is_cuda)}:
            if machine.half_missing == "refuse":
                raise ConfigError(
                    f"machine.half_missing: refuse: {label} was done in {before} until now, which "
                    f"this machine ({self.name}) lacks or computes no faster than float32. Resume "
                    "it on a machine like the one before, or set machine.half_missing=float32."
                )
            dtype = torch.float32
        resumed = replace(self, dtype=dtype)
        if before != resumed.precision:
            LOG.warning(
                "%s: done in %s until now, goes on in float32, since this machine (%s) lacks that "
                "or computes it no faster",
                *(label, before, self.name),
            )
        elif resumed != self:
            LOG.warning(
                "%s: goes on in %s, in which it was begun; machine.amp=%s does not change that",
                *(label, before, str(machine.amp).lower()),
            )
        if resumed.precision not in precisions[-1:]:
            precisions.append(resumed.precision)
        return resumed

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a CUDA card."""
        return self.where.type == "cuda"

    @property
    def name(self) -> str:
        """Name for the manifest."""
        return torch.cuda.get_device_name() if self.is_cuda else "cpu"

    @property
    def precision(self) -> str:
        """The type that forward passes run in, by the name torch has for it."""
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}"

    def free_bytes(self) -> int:
        """Return the memory that nobody uses."""
        if self.is_cuda:
            # What the fold before has left is kept for the next to ask for it.
            gc.collect()
            torch.cuda.empty_cache()
            return torch.cuda.mem_get_info()[0]
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def room_for(self, what: str, *, advice: str) -> Iterator[None]:
        """Name what does not fit into memory, and what to do about it.

        Raises:
            ConfigError: Memory ended inside.
        """
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            said = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{what} do not fit into the memory of {self.name} ({said}). {advice}"
            ) from error

    def place(self, network: Module) -> Module:
        """Move a network to the device, in the layout its convolutions are fastest in."""
        return network.to(self.where, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        """Move a batch to the device without waiting for it."""
        return tensor.to(self.where, non_blocking=True)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which a forward pass runs."""
        return torch.autocast(self.where.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def scales(self) -> bool:
        """Whether the loss must be scaled for its gradients to be numbers: in float16."""
        return self.dtype == torch.float16

    def scaler(self) -> torch.amp.GradScaler:
        """Return the gradient scaler, which has the optimiser skip gradients that are not finite.

        It decides on the device, and nobody waits. Where nothing needs a scale it is 1.
        """
        if self.scales:
            return torch.amp.GradScaler(self.where.type)
        return torch.amp.GradScaler(self.where.type, init_scale=1.0)


def _half(is_cuda: bool) -> torch.dtype:
    """Return the half precision that is faster than float32; float32 itself if none is.

    AVX512-BF16 without AMX is not: it multiplies pairs of numbers, no matrices, and a step of
    training takes 1.35 times as long as in float32, a prediction 1.27 times.
    """
    if is_cuda:
        # Cards before Ampere emulate bfloat16, many times slower than they compute float16.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    # Linux names there what the processor has and the kernel lets programs use.
    facts = Path("/proc/cpuinfo")
    has_amx = facts.is_file() and "amx_bf16" in facts.read_text().split()
    return torch.bfloat16 if has_amx else torch.float32


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch could not get memory, from a GPU or from the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _workers(machine: Machine, *, is_cuda: bool) -> int:
    """Return how many loader processes to have: a GPU is fed by all cores, a CPU has few to spare.

    torch's threads are this process's share of the cores, except under torchrun, which gives each
    process one, whatever its share.
    """
    if machine.loader_workers != "auto":
        return machine.loader_workers
    threads = torch.get_num_threads()
    if not is_cuda:
        return threads // CORES_A_WORKER
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threads = len(os.sched_getaffinity(0)) // int(os.environ["LOCAL_WORLD_SIZE"])
    return min(max(threads, 1), MAX_WORKERS)


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed instead of giving it back to the system.

    A step frees and takes the same activations again and again; by default each of their pages is
    then asked for anew: 2,100 page faults and 15 % of the time of a demo's step.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            libc.mallopt(parameter, 2**30)
