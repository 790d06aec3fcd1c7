"""From data sets to batches: which crops come, in what order, and the processes that load them.

Crops are asked for by (epoch, index), so a training that resumes in the middle of an epoch begins
with the very next batch. What goes wrong in a loader process arrives as the error it is.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.compute.processes import ignore_signals
from pipeline.config.schema import check_shares
from pipeline.data.tiles import Item
from pipeline.errors import ConfigError, DataError
from pipeline.training.context import TrainingContext

STATISTICS_CROPS = 256
SIGNAL_S = 1
_KILLED = re.compile("DataLoader worker .* (exited unexpectedly|is killed)")


class _Keys(Sequence[tuple[int, int]]):
    """(epoch, index) of every crop from one on, epochs joined without a pause between."""

    def __init__(self, first: int, end: int, per_epoch: int) -> None:
        self._numbers, self._per_epoch = range(first, end), per_epoch

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: int) -> tuple[int, int]:  # type: ignore[override]
        return divmod(self._numbers[position], self._per_epoch)


class _Share(Sequence[list[tuple[int, int]]]):
    """What one process of a group has of each batch: as many as the others, in the ranks' order.

    Raises:
        ConfigError: The group does not divide the batch.
    """

    def __init__(self, keys: Sequence[tuple[int, int]], batch_size: int, group: Group) -> None:
        check_shares(batch_size, group.size)
        self._keys, self._group, self._batch_size = keys, group, batch_size

    def __len__(self) -> int:
        return len(self._keys) // self._batch_size

    def __getitem__(self, batch: int) -> list[tuple[int, int]]:  # type: ignore[override]
        own = self._batch_size // self._group.size
        first = batch * self._batch_size + self._group.rank * own
        return [self._keys[place] for place in range(first, first + own)]


def crop_batches(context: TrainingContext, first_step: int) -> Iterator[Item]:
    """Yield this process's share of the batches from `first_step` to the end of the last epoch.

    Args:
        context: Of the training.
        first_step: Steps done before, counted over all epochs.

    Raises:
        DataError: An image cannot be read.
        ConfigError: A loader process was killed, or the group does not divide the batch.
    """
    crops = context.crops
    keys = _Keys(first_step * crops.batch_size, context.settings.epochs * len(crops), len(crops))
    yield from _shared(context, keys, crops.batch_size)


def statistics_batches(context: TrainingContext, epoch: int, batch_size: int) -> Iterator[Item]:
    """Yield the same of an epoch's first STATISTICS_CROPS crops, but of one batch at least."""
    per_epoch = len(context.crops)
    count = min(max(STATISTICS_CROPS, batch_size), per_epoch) // batch_size * batch_size
    keys = _Keys(epoch * per_epoch, epoch * per_epoch + count, per_epoch)
    yield from _shared(context, keys, batch_size)


def validation_batches(context: TrainingContext) -> Iterator[Item]:
    """Yield the validation images in order, to each process whole batches in turn.

    Raises:
        DataError: An image cannot be read.
        ConfigError: A loader process was killed.
    """
    group = context.group
    batches = context.validation.batches(context.crops.batch_size)
    yield from _load(context.validation, batches[group.rank :: group.size], context.device)


def _shared(context: TrainingContext, keys: _Keys, batch_size: int) -> Iterator[Item]:
    yield from _load(context.crops, _Share(keys, batch_size, context.group), context.device)


def _load(
    dataset: Dataset[Item],
    batches: Sequence[list[int]] | Sequence[list[tuple[int, int]]],
    device: Device,
) -> Iterator[Item]:
    workers = device.loader_workers
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=device.is_cuda,
        # Forked processes share the data set's arrays; others would be sent a copy each.
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=ignore_signals,
        # A generator of its own: the network's random numbers are not those of the loader.
        generator=torch.Generator(),
    )
    with worker_failures(workers):
        try:
            yield from loader
        except DataError as error:
            # torch puts the process's traceback before the message.
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error


@contextmanager
def worker_failures(workers: int) -> Iterator[None]:
    """Turn the end of a loader process into an error that says what to do.

    torch raises it wherever the main thread happens to be, in the middle of a step as well. A batch
    that a process made before it was killed can no longer be fetched from it: that is an error of
    the connection.

    Raises:
        ConfigError: One was killed.
    """
    try:
        try:
            yield
        except (ConnectionError, EOFError):
            # The signal of its death may be on its way: what it raises is to be raised here.
            time.sleep(workers and SIGNAL_S)
            raise
    except (RuntimeError, ConnectionError, EOFError) as error:
        is_other = isinstance(error, RuntimeError) and _KILLED.search(str(error)) is None
        if workers == 0 or is_other:
            raise
        raise ConfigError(
            f"machine.loader_workers: one of the {workers} loader processes was killed ({error}), "
            "most often by the system because memory ran out. Lower machine.loader_workers or "
            "machine.image_cache_mib, and run the same command again: it resumes from the "
            "last saved state."
        ) from error
