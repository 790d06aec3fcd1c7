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
from pipeline.data.targets import ship_probability, ship_truth
from pipeline.data.tiles import CropDataset, ImageDataset, Item
from pipeline.errors import ArtifactError
from pipeline.networks.build import SegmentationNetwork
from pipeline.run import Job
from pipeline.training import checkpoint
from pipeline.training.coefficients import PixelCounts
from pipeline.training.device import Device
from pipeline.training.ema import Ema
from pipeline.training.losses import build_loss

__all__ = ["learning_rate", "train"]

LOG = logging.getLogger(__name__)
OUTPUTS = ["final.pt", "history.csv"]
SETTLING_CROPS = 256


class _Crops(Sampler[tuple[int, int]]):
    """(epoch, index) of every crop still to come, epochs joined without a pause between."""

    def __init__(self, first: int, epochs: int, per_epoch: int) -> None:
        self.keys = [(e, i) for e in range(first, epochs) for i in range(per_epoch)]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class _Training:
    """What a step needs, and everything that a resumed run needs."""

    job: Job
    kind: str
    settings: Optimisation
    device: Device
    batch_size: int
    network: SegmentationNetwork
    loss: nn.Module
    ema: Ema
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    history: list[dict[str, float]]

    def save(self, path: Path) -> None:
        """Write the state that `load` goes on from."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        checkpoint.save(path, {"owner": self.job.owner, "history": self.history, **state})

    def load(self, path: Path) -> None:
        """Take up the state that `save` wrote."""
        state = checkpoint.load(path, owner=self.job.owner, restart_hint=self.job.restart_hint)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.history = state["history"]

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "ema": self.ema.network,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }

    def epoch(self, batches: Iterator[Item], steps: int) -> dict[str, float]:
        """Train for one epoch.

        Raises:
            ArtifactError: The loss stopped being finite.
        """
        self.network.train()
        number = len(self.history)
        total = torch.zeros((), device=self.device.where)
        parts: dict[str, torch.Tensor] = {}
        waited_s, started = 0.0, time.perf_counter()
        name = f"{self.job.label} epoch {number + 1}/{self.settings.epochs}"
        for step in tqdm(
            range(number * steps, (number + 1) * steps), name, leave=False, disable=None
        ):
            asked = time.perf_counter()
            batch = next(batches)
            waited_s += time.perf_counter() - asked
            value, terms = self._step(batch, step, self.settings.epochs * steps)
            total += value
            for term, part in terms.items():
                parts[term] = parts.get(term, torch.zeros_like(part)) + part
        wall_s = time.perf_counter() - started
        mean = (total / steps).item()
        if not math.isfinite(mean):
            raise ArtifactError(
                f"{self.job.label}: the loss of epoch {number + 1} is {mean}, expected a finite "
                f"number. last.pt is the state before it. Lower {self.job.stage}.learning_rate "
                f"(now {self.settings.learning_rate}). {self.job.restart_hint}"
            )
        return {
            "loss": mean,
            **{f"loss_{term}": (part / steps).item() for term, part in parts.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_s": wall_s,
            "data_wait_s": waited_s,
            "crops_per_s": steps * self.batch_size / wall_s,
        }

    def _step(
        self, batch: Item, step: int, steps: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Take one optimisation step; nothing here waits for the device."""
        images = self.device.move(batch["image_chw"])
        target = self.device.move(batch["target"])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step, steps)
        with self.device.autocast():
            logits = self.network(images).logits_nchw
        value, terms = self.loss(logits, target)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(value).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(step)
        return value.detach(), terms

    @torch.inference_mode()
    def validate(self, images: ImageDataset) -> dict[str, float]:
        """Score the EMA on whole held-out images: mean loss, coefficients of their ship pixels."""
        started = time.perf_counter()
        network = self.ema.network.eval()
        total = torch.zeros((), device=self.device.where)
        counts = PixelCounts(self.device.where)
        for batch in DataLoader(images, self.batch_size, pin_memory=self.device.is_cuda):
            inputs = self.device.move(batch["image_chw"])
            target = self.device.move(batch["target"])
            with self.device.autocast():
                logits = network(inputs).logits_nchw
            total += self.loss(logits, target)[0] * len(inputs)
            counts.update(ship_probability(logits, self.kind) > 0.5, ship_truth(target))
        return {
            "val_loss": (total / len(images)).item(),
            **{f"val_{name}": value for name, value in counts.coefficients().items()},
            "val_s": time.perf_counter() - started,
        }


def train(
    job: Job,
    network: SegmentationNetwork,
    crops: CropDataset,
    validation: ImageDataset,
    *,
    kind: str,
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
        kind: Of the targets, which the network has the channels for.
        settings: Loss, schedule and EMA.
        machine: Device, precision and loader processes.
        batch_size: Crops per step; the crops of an epoch are a multiple of it.

    Raises:
        ArtifactError: The checkpoint is foreign or damaged, the loss stopped being finite, or the
            disk is full.
    """
    device = Device.choose(machine)
    network = device.place(network)
    training = _Training(
        job=job,
        kind=kind,
        settings=settings,
        device=device,
        batch_size=batch_size,
        network=network,
        loss=build_loss(settings.loss),
        ema=Ema(network, settings.ema_decay),
        optimizer=torch.optim.AdamW(
            _decayed(network, settings.weight_decay), lr=settings.learning_rate, fused=True
        ),
        scaler=device.scaler(),
        history=[],
    )
    last = job.folder / "last.pt"
    if last.is_file():
        training.load(last)
        LOG.info("%s: goes on after epoch %d", job.label, len(training.history))
    first = len(training.history)
    batches = iter(
        DataLoader(
            crops,
            batch_size,
            sampler=_Crops(first, settings.epochs, len(crops)),
            num_workers=machine.loader_workers,
            pin_memory=device.is_cuda,
        )
    )
    for epoch in range(first, settings.epochs):
        row = {"epoch": float(epoch + 1)} | training.epoch(batches, len(crops) // batch_size)
        if epoch + 1 == settings.epochs:
            training.ema.settle(_some_images(crops, epoch, batch_size, device))
        row |= training.validate(validation)
        training.history.append(row)
        training.save(last)
        LOG.info(
            "%s epoch %d/%d: loss %.4f, validation loss %.4f, Dice %.3f, %.0f crops/s",
            *(job.label, epoch + 1, settings.epochs, row["loss"], row["val_loss"]),
            *(row["val_dice"], row["crops_per_s"]),
        )
    checkpoint.save(job.folder / "final.pt", {"model": training.ema.network.state_dict()})
    history = pd.DataFrame(training.history).astype({"epoch": int})
    write_atomic(job.folder / "history.csv", history.to_csv(index=False).encode())
    job.finish(OUTPUTS, training.history[-1], device.name)


def _some_images(
    crops: CropDataset, epoch: int, batch_size: int, device: Device
) -> Iterator[torch.Tensor]:
    """Yield the images of an epoch's first SETTLING_CROPS crops, for BatchNorm's statistics."""
    count = min(SETTLING_CROPS, len(crops)) // batch_size * batch_size
    keys = [(epoch, index) for index in range(count)]
    for batch in DataLoader(crops, batch_size, sampler=keys):
        yield device.move(batch["image_chw"])


def learning_rate(settings: Optimisation, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to zero."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters: kernels decay, biases and normalisation scales do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
