"""From data sets to batches: which crops come, in what order, and the processes that load them.

Crops are asked for by (epoch, index), so a run that goes on begins in the middle of an epoch with
the very next batch. What goes wrong in a loader process arrives as the error it is.
"""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.compute.group import Group
from pipeline.data.tiles import CropDataset, ImageDataset, Item
from pipeline.errors import ConfigError, DataError

__all__ = ["crop_batches", "deaths_named", "settling_batches", "whole_images"]

SETTLING_CROPS = 256
_KILLED = re.compile("DataLoader worker .* (exited unexpectedly|is killed)")


class _Keys(Sequence[tuple[int, int]]):
    """(epoch, index) of every crop from one on, epochs joined without a pause between."""

    def __init__(self, first: int, end: int, per_epoch: int) -> None:
        self._numbers, self._per_epoch = range(first, end), per_epoch

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: int) -> tuple[int, int]:  # type: ignore[override]
        return divmod(self._numbers[position], self._per_epoch)


class _Share(Sequence[tuple[int, int]]):
    """What one process of a group has of each batch: `batch_size` of it, in the ranks' order.

    Raises:
        ConfigError: The group does not divide the batch.
    """

    def __init__(self, keys: Sequence[tuple[int, int]], batch_size: int, group: Group) -> None:
        if batch_size % group.size:
            raise ConfigError(
                f"crops.batch_size: {batch_size}: expected a multiple of {group.size}, the number "
                "of processes that share a batch."
            )
        self._keys, self._group = keys, group
        self.batch_size = batch_size // group.size

    def __len__(self) -> int:
        return len(self._keys) // self._group.size

    def __getitem__(self, position: int) -> tuple[int, int]:  # type: ignore[override]
        batch, place = divmod(position, self.batch_size)
        share = batch * self._group.size + self._group.rank
        return self._keys[share * self.batch_size + place]


def crop_batches(
    crops: CropDataset,
    batch_size: int,
    *,
    first_step: int,
    epochs: int,
    workers: int,
    pin: bool,
    group: Group,
) -> Iterator[Item]:
    """Yield this process's share of the batches from `first_step` to the end of the last epoch.

    Args:
        crops: Their number is a multiple of `batch_size`.
        batch_size: Crops a batch, over all processes of the group.
        first_step: Steps done before, counted over all epochs.
        epochs: Of the whole training.
        workers: Loader processes; 0 loads in this one.
        pin: Whether batches are put where a CUDA device can fetch them by itself.
        group: The processes that share each batch.

    Raises:
        DataError: An image cannot be read.
        ConfigError: A loader process was killed.
    """
    keys = _Keys(first_step * batch_size, epochs * len(crops), len(crops))
    share = _Share(keys, batch_size, group)
    yield from _load(crops, share.batch_size, share, workers=workers, pin=pin)


def settling_batches(
    crops: CropDataset, batch_size: int, *, epoch: int, workers: int, pin: bool, group: Group
) -> Iterator[Item]:
    """Yield the same of an epoch's first SETTLING_CROPS crops, but of one batch at least."""
    count = min(max(SETTLING_CROPS, batch_size), len(crops)) // batch_size * batch_size
    keys = _Keys(epoch * len(crops), epoch * len(crops) + count, len(crops))
    share = _Share(keys, batch_size, group)
    yield from _load(crops, share.batch_size, share, workers=workers, pin=pin)


def whole_images(
    images: ImageDataset, batch_size: int, *, workers: int, pin: bool, group: Group
) -> Iterator[Item]:
    """Yield the images in order, to each process whole batches in turn; raises the same."""
    every = range(len(images))
    batches = [every[first : first + batch_size] for first in every[::batch_size]]
    own = [index for batch in batches[group.rank :: group.size] for index in batch]
    yield from _load(images, batch_size, own, workers=workers, pin=pin)


def _load(
    dataset: Dataset[Item],
    batch_size: int,
    keys: Sequence[int] | Sequence[tuple[int, int]],
    *,
    workers: int,
    pin: bool,
) -> Iterator[Item]:
    loader = DataLoader(
        dataset,
        batch_size,
        sampler=keys,
        num_workers=workers,
        pin_memory=pin,
        # Forked processes share the data set's arrays; others would be sent a copy each.
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_ignore_signals,
        # A generator of its own: the network's random numbers are not those of the loader.
        generator=torch.Generator(),
    )
    with deaths_named(workers):
        try:
            yield from loader
        except DataError as error:
            # torch puts the process's traceback before the message.
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error


@contextmanager
def deaths_named(workers: int) -> Iterator[None]:
    """Turn the death of a loader process into an error that says what to do.

    torch raises it wherever the main thread happens to be, in the middle of a step as well. A batch
    that a process made before it was killed can no longer be fetched from it: that is an error of
    the connection.

    Raises:
        ConfigError: One was killed.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        is_other = isinstance(error, RuntimeError) and _KILLED.search(str(error)) is None
        if workers == 0 or is_other:
            raise
        raise ConfigError(
            f"machine.loader_workers: one of the {workers} loader processes was killed ({error}), "
            "most often by the system because memory ran out. Lower machine.loader_workers or "
            "machine.image_cache_mib, and run the same command again: it goes on from the last "
            "saved state."
        ) from error


def _ignore_signals(_worker: int) -> None:
    """Leave Ctrl-C and SIGTERM to the parent, which saves first and then ends its loaders."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
