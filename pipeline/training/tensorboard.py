"""Curves and overlays for TensorBoard, where `machine.tensorboard` asks for them.

`tensorboard --logdir runs` shows them; each fold of each stage writes to its own folder. An overlay
is a validation image with the true objects' pixels in green and the predicted ones in red.
"""

from pathlib import Path

import torch

from pipeline.compute.device import Device
from pipeline.data.targets import object_truth, probabilities, without_borders
from pipeline.networks.before_work import check_tensorboard
from pipeline.networks.build import SegmentationNetwork
from pipeline.training.context import TrainingContext

SHOWN = 4
"""Validation images shown: the first ones with an object, so that there is something to see."""

LOOKED_AT = 64


class Curves:
    """Writes what TensorBoard shows.

    Args:
        folder: Of the event files.
        done: Epochs done before; what was written of later ones is not shown.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, done: int) -> None:
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def add(self, row: dict[str, float]) -> None:
        """Add an epoch's row of the history."""
        epoch = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)

    def add_overlays(
        self, context: TrainingContext, network: SegmentationNetwork, epoch: int
    ) -> None:
        """Add what `network` sees in a few validation images."""
        images, kind = context.validation, context.config.targets.kind
        items = (images[index] for index in range(min(LOOKED_AT, len(images))))
        shown = [item for item in items if object_truth(item["target"][None], kind).any()][:SHOWN]
        for number, item in enumerate(shown):
            overlay_chw = _overlay(network, item, kind, context.device)
            self._writer.add_image(f"validation/{number}", overlay_chw, epoch)
        self._writer.flush()


@torch.inference_mode()
def _overlay(
    network: SegmentationNetwork, item: dict[str, torch.Tensor], kind: str, device: Device
) -> torch.Tensor:
    """uint8 (3, H, W)."""
    with device.autocast():
        logits = network(device.move(item["image_chw"][None])).logits_nchw
    found_hw = (without_borders(probabilities(logits, kind), kind)[0] > 0.5).any(0).cpu()
    true_hw = object_truth(item["target"][None], kind)[0].any(0)
    overlay_chw = item["image_chw"] // 2
    overlay_chw[0] += found_hw * 127
    overlay_chw[1] += true_hw * 127
    return overlay_chw
