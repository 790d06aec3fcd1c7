"""The one training loop, for BCE - ln Dice and for the Lovász fine-tune alike.

A network, its loss, crops and validation images enter; `final.pt`, the EMA of the weights at the
end of a fixed schedule, and `history.csv` leave. There is no "best epoch": choosing one on the
validation fold would make the out-of-fold score dishonest. After each epoch the whole state is in
`last.pt`, and going on from it gives the bits of a run that was never interrupted.
"""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from pipeline.artifacts import write_atomic
from pipeline.config import Machine, Optimisation
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.errors import ArtifactError
from pipeline.networks.build import SegmentationNetwork
from pipeline.run import Job
from pipeline.training import checkpoint
from pipeline.training.coefficients import PixelCounts
from pipeline.training.device import Device
from pipeline.training.ema import Ema
from pipeline.training.losses import build_loss

__all__ = ["train"]

LOG = logging.getLogger(__name__)
OUTPUTS = ["final.pt", "history.csv"]
SETTLING_CROPS = 256


@dataclass
class _State:
    """Everything that a resumed run needs."""

    network: SegmentationNetwork
    ema: Ema
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    history: list[dict[str, float]]

    def save(self, path: Path, owner: str) -> None:
        checkpoint.save(
            path,
            {
                "owner": owner,
                "network": self.network.state_dict(),
                "ema": self.ema.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": self.history,
            },
        )

    def load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.ema.network.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = state["history"]


class _Crops(Sampler[tuple[int, int]]):
    """(epoch, index) of every crop still to come, epochs joined without a pause between."""

    def __init__(self, first_epoch: int, epochs: int, per_epoch: int) -> None:
        self.keys = [(e, i) for e in range(first_epoch, epochs) for i in range(per_epoch)]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def train(
    job: Job,
    network: SegmentationNetwork,
    crops: CropDataset,
    validation: ImageDataset,
    *,
    settings: Optimisation,
    machine: Machine,
    batch_size: int,
) -> None:
    """Train `network` by `settings` until the job is finished, from `last.pt` if there is one.

    Args:
        job: Where the state and the results go.
        network: Start weights; moved to the device and changed in place.
        crops: Training crops.
        validation: Whole images of the held-out fold, scored by the EMA after each epoch.
        settings: Loss, schedule and EMA.
        machine: Device, precision and loader processes.
        batch_size: Crops per step; the crops of an epoch are a multiple of it.

    Raises:
        ArtifactError: The checkpoint is foreign or damaged, the loss stopped being finite, or the
            disk is full.
    """
    device = Device.choose(machine)
    network = device.place(network)
    steps_per_epoch = len(crops) // batch_size
    state = _State(
        network=network,
        ema=Ema(network, settings.ema_decay),
        optimizer=torch.optim.AdamW(
            _decayed(network, settings.weight_decay), lr=settings.learning_rate, fused=True
        ),
        scaler=device.scaler(),
        history=[],
    )
    last = job.folder / "last.pt"
    if last.is_file():
        state.load(checkpoint.load(last, owner=job.owner, restart_hint=job.restart_hint))
        LOG.info("%s: goes on after epoch %d", job.label, len(state.history))
    loss = build_loss(settings.loss)
    batches = iter(
        DataLoader(
            crops,
            batch_size,
            sampler=_Crops(len(state.history), settings.epochs, len(crops)),
            num_workers=machine.loader_workers,
            pin_memory=device.is_cuda,
            drop_last=True,
        )
    )
    for epoch in range(len(state.history), settings.epochs):
        row = {"epoch": float(epoch + 1)}
        row |= _train_epoch(state, batches, epoch, steps_per_epoch, loss, settings, device, job)
        state.ema.settle(_first_images(crops, epoch, batch_size, device))
        row |= _validate(state.ema.network, validation, loss, machine, device, batch_size)
        state.history.append(row)
        state.save(last, job.owner)
        LOG.info(
            "%s epoch %d/%d: loss %.4f, validation loss %.4f, Dice %.3f, %.0f crops/s",
            *(job.label, epoch + 1, settings.epochs, row["loss"], row["val_loss"]),
            *(row["val_dice"], row["crops_per_s"]),
        )
    checkpoint.save(job.folder / "final.pt", {"model": state.ema.network.state_dict()})
    history = pd.DataFrame(state.history).astype({"epoch": int})
    write_atomic(job.folder / "history.csv", history.to_csv(index=False).encode())
    job.finish(OUTPUTS, state.history[-1], device.name)


def _train_epoch(
    state: _State,
    batches: Iterator[dict[str, torch.Tensor]],
    epoch: int,
    steps: int,
    loss: nn.Module,
    settings: Optimisation,
    device: Device,
    job: Job,
) -> dict[str, float]:
    state.network.train()
    total = torch.zeros((), device=device.torch)
    parts: dict[str, torch.Tensor] = {}
    waited_s, crops, started = 0.0, 0, time.perf_counter()
    bar = tqdm(range(steps), f"{job.label} epoch {epoch + 1}/{settings.epochs}", leave=False, disable=None)
    for step in bar:
        asked = time.perf_counter()
        batch = next(batches)
        waited_s += time.perf_counter() - asked
        images, targets = device.move(batch["image_chw"]), device.move(batch["target_chw"])
        _set_rate(state.optimizer, settings, epoch * steps + step, settings.epochs * steps)
        with device.autocast():
            logits = state.network(images).logits_nchw
        value, terms = loss(logits, targets)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(value).backward()
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.ema.update(state.network, epoch * steps + step)
        total += value.detach()
        for name, term in terms.items():
            parts[name] = parts.get(name, torch.zeros_like(term)) + term
        crops += len(images)
    wall_s = time.perf_counter() - started
    mean = (total / steps).item()
    if not math.isfinite(mean):
        raise ArtifactError(
            f"{job.label}: the loss of epoch {epoch + 1} is {mean}, expected a finite number. The "
            f"last whole state is {job.folder / 'last.pt'}. Lower {job.stage}.learning_rate "
            f"(now {settings.learning_rate}). {job.restart_hint}"
        )
    return {
        "loss": mean,
        **{name: (term / steps).item() for name, term in parts.items()},
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        "train_s": wall_s,
        "data_wait_s": waited_s,
        "crops_per_s": crops / wall_s,
    }


def _first_images(
    crops: CropDataset, epoch: int, batch_size: int, device: Device
) -> Iterator[torch.Tensor]:
    """Yield the images of the epoch's first SETTLING_CROPS crops, for BatchNorm's statistics."""
    count = min(SETTLING_CROPS, len(crops)) // batch_size * batch_size
    keys = [(epoch, index) for index in range(count)]
    for batch in DataLoader(crops, batch_size, sampler=keys):
        yield device.move(batch["image_chw"])


@torch.inference_mode()
def _validate(
    network: nn.Module,
    images: ImageDataset,
    loss: nn.Module,
    machine: Machine,
    device: Device,
    batch_size: int,
) -> dict[str, float]:
    """Score the EMA on whole held-out images: mean loss, and coefficients over all their pixels."""
    started = time.perf_counter()
    network.eval()
    total = torch.zeros((), device=device.torch)
    counts = PixelCounts(device.torch)
    for batch in DataLoader(images, batch_size, num_workers=0, pin_memory=device.is_cuda):
        inputs, targets = device.move(batch["image_chw"]), device.move(batch["target_chw"])
        with device.autocast():
            logits = network(inputs).logits_nchw
        total += loss(logits, targets)[0] * len(inputs)
        counts.update(logits[:, :1] > 0, targets[:, :1] > 0)
    return {
        "val_loss": (total / len(images)).item(),
        **{f"val_{name}": value for name, value in counts.coefficients().items()},
        "val_s": time.perf_counter() - started,
    }


def _set_rate(optimizer: torch.optim.Optimizer, settings: Optimisation, step: int, steps: int) -> None:
    """Linear warm-up over `warmup_share` of all steps, then half a cosine down to zero."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        factor = (step + 1) / (warmup + 1)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters: kernels decay, biases and normalisation scales do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
