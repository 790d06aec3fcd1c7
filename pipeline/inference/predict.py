"""Whole images through trained networks.

Images and the folds' weights enter; 8-bit probability maps leave: the mean over symmetries, and
over networks where several see an image.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.config import Config
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.data.targets import CHANNELS
from pipeline.data.tiles import ImageDataset
from pipeline.inference.probmaps import MapWriter
from pipeline.inference.tta import SYMMETRIES, mean_probability
from pipeline.networks.build import SegmentationNetwork, build_trained
from pipeline.run import Job, Run
from pipeline.training.device import Device

__all__ = ["predict_held_out", "predict_test"]


def predict_held_out(run: Run, job: Job, fold: int, trained: Job) -> None:
    """Write the maps of the training images that `fold` holds out."""
    catalog = Catalog.load(run.result("data").folder)
    folds = read_folds(run.result("split").folder / "folds.csv")
    ids = folds.ImageId[folds.fold == fold].tolist()
    paths = [catalog.train_path(name) for name in ids]
    _predict(run.config, job, ids=ids, paths=paths, catalog=catalog, trained=[trained])


def predict_test(run: Run, job: Job, trained: Sequence[Job]) -> None:
    """Write the maps of the usable test images, each the mean over all folds' networks."""
    catalog = Catalog.load(run.result("data").folder)
    ids = catalog.usable_test_ids
    paths = [catalog.test_path(name) for name in ids]
    _predict(run.config, job, ids=ids, paths=paths, catalog=catalog, trained=trained)


@torch.inference_mode()
def _predict(
    config: Config,
    job: Job,
    *,
    ids: Sequence[str],
    paths: Sequence[Path],
    catalog: Catalog,
    trained: Sequence[Job],
) -> None:
    device = Device.choose(config.machine)
    networks = [_load(config, source, device) for source in trained]
    symmetries, kind = SYMMETRIES[config.predict.tta], config.targets.kind
    writer = MapWriter(job, floor=config.predict.floor)
    todo = [
        (name, path) for name, path in zip(ids, paths, strict=True) if name not in writer.written
    ]
    images = ImageDataset([path for _, path in todo], catalog.height, catalog.width)
    loader = DataLoader(
        images,
        config.predict.batch_size,
        num_workers=config.machine.loader_workers,
        pin_memory=device.is_cuda,
    )
    names = iter(name for name, _ in todo)
    with tqdm(
        total=len(ids), initial=len(ids) - len(todo), desc=job.label, unit="image", disable=None
    ) as bar:
        for batch in loader:
            inputs = device.move(batch["image_chw"])
            total = torch.zeros((), device=device.where)
            with device.autocast():
                for network in networks:
                    total = total + mean_probability(network, inputs, symmetries, kind)
            maps = (total / len(networks) * 255).round().to(torch.uint8).cpu().numpy()
            for prob_chw in maps:
                writer.add(next(names), prob_chw[0])
            bar.update(len(maps))
    writer.close(device.name)


def _load(config: Config, source: Job, device: Device) -> SegmentationNetwork:
    state = torch.load(source.checked("final.pt"), map_location="cpu", weights_only=True)
    channels = CHANNELS[config.targets.kind]
    network = build_trained(config.network, channels, state["model"])
    return device.place(network).eval()
