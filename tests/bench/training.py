"""The whole training loop against the bare step, and against smp + Lightning.

    python -m tests.bench.training [--rounds 3] [--steps 24]
    python -m tests.bench.training --learn 300 [--seeds 0,1,2]

The job: crops of 256 px from 768-px JPEGs on disk, some with ships; the demo's network and loss.
Three ways, in turns in one process, each in CPU seconds of itself and its loaders, and in seconds:

- bare: forward, backward and fused AdamW on one fixed batch that is already there;
- ours: `pipeline.training.loop.train`, with decoding, augmentation, clipping, EMA and counting;
- lightning: the same job as smp and Lightning are ordinarily used: a Dataset that reads an image,
  crops it by albumentations and flips it, smp's Unet, the same loss, `Trainer.fit`, clipping and
  its EMA callback. It takes part if it is there: `pip install lightning==2.6.6`, which the project
  itself does not need.

Printed are the crops per CPU second of each, and the ratios. With --learn the last two train for so
many steps instead, and what is printed is the loss that the averaged weights of each have on the
same crops of images that neither saw. On a GPU leave OMP_NUM_THREADS out, which the number of
loader processes follows, and take 200 steps or more: loaders are ahead of the first ones.
"""

import argparse
import importlib.util
import logging
import os
import resource
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.compute.device import Device
from pipeline.compute.group import Group
from pipeline.config.load import load_config
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.jobs.job import Job
from pipeline.masks.rle import encode_labels
from pipeline.networks.build import build_network
from pipeline.training import batches
from pipeline.training.context import TrainingContext
from pipeline.training.loop import train
from pipeline.training.objective import WeightedSum
from pipeline.training.state import State
from pipeline.training.step import Step, learning_rate
from tests.bench.sizes import sized

SIDE_PX, IMAGES, HELD_CROPS = sized((768, 24, 128), (96, 2, 8))
JOB = [
    *(f"crops.size_px={sized(256, 64)}", "train.validation_images=1", "machine.image_cache_mib=0"),
    # Crops from anywhere, as a RandomCrop draws them: the same job for both.
    *("crops.object_share=0.0", "crops.empty_share=0.5", "crops.busiest_of=1"),
]


def draw_images(folder, seed):
    """Sea, clouds and one ship or none, as JPEGs of the competition's size in bytes."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    paths, encoded = [], []
    for number in range(IMAGES):
        clouds = cv2.resize(random.random((12, 12, 3)), (SIDE_PX, SIDE_PX))
        image_hwc = 40 + 60 * clouds + random.normal(0, 4, (SIDE_PX, SIDE_PX, 3))
        labels_hw = np.zeros((SIDE_PX, SIDE_PX), np.int32)
        if number % 2:
            box = cv2.boxPoints((random.uniform(100, 668, 2), (90, 20), random.uniform(0, 180)))
            cv2.fillPoly(labels_hw, [box.astype(np.int32)], 1)
            image_hwc[labels_hw > 0] += 70
        paths.append(folder / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), image_hwc.clip(0, 255).astype(np.uint8))
        encoded.append(encode_labels(labels_hw))
    return paths, encoded


class Clock:
    """Seconds, and CPU seconds of this process and of its loaders that ended."""

    def __enter__(self):
        self.began = time.perf_counter(), self.cpu()
        return self

    def __exit__(self, *error):
        self.wall_s, self.cpu_s = time.perf_counter() - self.began[0], self.cpu() - self.began[1]

    @staticmethod
    def cpu():
        who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        return sum(sum(resource.getrusage(each)[:2]) for each in who)


class Bench:
    """The job and the three ways to do it; each returns its clock and what it has learnt."""

    seed = 0

    def __init__(self, config, folder):
        self.config, self.folder = config, folder
        self.batch_size = config.crops.batch_size
        self.paths, self.encoded = draw_images(folder / "train", 0)
        self.ships = TrueObjects(self.encoded, (SIDE_PX, SIDE_PX))
        self.device = Device.choose(config.machine)
        sizes = [path.stat().st_size / 1024 for path in self.paths]
        print(f"JPEGs of {np.mean(sizes):.0f} kB, {self.device.name}, {config.network.encoder}")

    def network(self):
        torch.manual_seed(self.seed)
        return build_network(self.config.network, channels=1)

    def crops(self, count, held=None):
        paths, ships = held or (self.paths, self.ships)
        return CropDataset(
            paths,
            ships,
            targets=self.config.targets,
            crops=self.config.crops.model_copy(update={"per_epoch": count}),
            augment=self.config.augment,
            seed=self.seed,
            stream=("bench",),
        )

    def held_batches(self):
        """Crops of images that are not learnt from."""
        paths, encoded = draw_images(self.folder / "held", 1)
        crops = self.crops(HELD_CROPS, (paths, TrueObjects(encoded, (SIDE_PX, SIDE_PX))))
        return list(DataLoader([crops[0, index] for index in range(HELD_CROPS)], 8))

    @torch.inference_mode()
    def loss_on(self, held, network):
        loss = WeightedSum(self.config.train.loss)
        network.cpu().eval()
        values = [loss(network(b["image_chw"]).logits_nchw, b["target"])[0] for b in held]
        return float(np.mean(values))

    def bare(self, steps):
        network = self.device.place(self.network()).train()
        loss = WeightedSum(self.config.train.loss)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        crops = self.crops(self.batch_size)
        batch = next(batches.crop_batches(self.context(crops, epochs=1), 0))
        images, target = (self.device.move(batch[name]) for name in ("image_chw", "target"))

        def step():
            optimizer.zero_grad(set_to_none=True)
            with self.device.autocast():
                logits = network(images).logits_nchw
            value, _ = loss(logits, target)
            value.backward()
            optimizer.step()
            return value

        step()
        with Clock() as clock:
            for _ in range(steps):
                value = step()
            value.item()
        return clock, network

    def job(self, folder=None):
        folder = folder or Path(tempfile.mkdtemp(dir=self.folder))
        wanted = {"stage": "train", "fold": 0, "seed": 0, "config": {}, "inputs": {}, "files": {}}
        return Job("train", 0, folder, wanted)

    def context(self, crops, *, epochs, folder=None):
        images = ImageDataset(
            self.paths[1:2],
            (SIDE_PX, SIDE_PX),
            (TrueObjects(self.encoded[1:2], (SIDE_PX, SIDE_PX)), self.config.targets),
        )
        settings = self.config.train.model_copy(update={"epochs": epochs})
        return TrainingContext(
            *(self.job(folder), self.config, settings, crops, images, self.device),
            Group.current(),
        )

    def stepper(self):
        """The loop's own step on one fixed batch that is already there, and what it changes."""
        context = self.context(self.crops(self.batch_size), epochs=1)
        state = State(context, self.device.place(self.network()).train())
        batch = next(batches.crop_batches(context, 0))
        batch = {name: self.device.move(tensor) for name, tensor in batch.items()}
        return state, partial(Step(context, state), batch)

    def ours(self, steps):
        network = self.network()
        context = self.context(self.crops(steps * self.batch_size), epochs=1)
        folder = context.job.folder
        with Clock() as clock:
            train(context, network)
        network.load_state_dict(torch.load(folder / "final.pt")["model"])
        return clock, network

    def lightning(self, steps):
        trainer, model, loader = lightning_job(self, steps)
        with Clock() as clock:
            trainer.fit(model, loader)
        network = self.network()
        network.body.load_state_dict(model.model.state_dict())
        return clock, network


class OrdinaryDataset(Dataset):
    """Image, mask and albumentations, as in most notebooks."""

    def __init__(self, bench, count):
        self.bench, self.count = bench, count
        size_px, augment = bench.config.crops.size_px, bench.config.augment
        self.transform = albumentations.Compose(
            [
                albumentations.RandomCrop(size_px, size_px),
                albumentations.D4(p=1),
                albumentations.RandomBrightnessContrast(augment.brightness, augment.contrast),
                albumentations.Normalize(),
            ]
        )

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        number = index % IMAGES
        image_hwc = cv2.cvtColor(cv2.imread(str(self.bench.paths[number])), cv2.COLOR_BGR2RGB)
        whole = slice(0, SIDE_PX)
        mask_hw = (self.bench.ships.labels(number, whole, whole)[0] > 0).astype(np.float32)
        changed = self.transform(image=image_hwc, mask=mask_hw)
        image_chw = torch.from_numpy(changed["image"].transpose(2, 0, 1).copy())
        return image_chw, torch.from_numpy(changed["mask"])[None]


def lightning_job(bench, steps):
    """Return the trainer, the model and its loader."""
    import lightning
    import segmentation_models_pytorch as smp
    from lightning.pytorch.callbacks import EMAWeightAveraging

    settings = bench.config.train

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(bench.seed)
            self.model = smp.Unet(
                bench.config.network.encoder, encoder_weights=None, **bench.config.network.options
            )
            self.loss = WeightedSum(settings.loss)  # smp's Dice is 0 without ships: another loss

        def training_step(self, batch):
            images, masks = batch
            logits = self.model(images)
            loss, _ = self.loss(logits, masks)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(
                self.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
            )
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer,
                lambda step: learning_rate(settings, step, steps) / settings.learning_rate,
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"},
            }

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="gpu" if bench.device.is_cuda else "cpu",
        precision="bf16-mixed" if bench.device.dtype == torch.bfloat16 else "32-true",
        gradient_clip_val=settings.clip_norm,
        callbacks=[EMAWeightAveraging(decay=settings.ema_decay)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=bench.folder,
    )
    loader = DataLoader(
        OrdinaryDataset(bench, steps * bench.batch_size),
        bench.batch_size,
        shuffle=True,
        num_workers=bench.device.loader_workers,
    )
    return trainer, Model(), loader


def measure_rates(bench, ways, *, rounds, steps):
    """Print each way's speed in turns; return the medians, by CPU time and by time."""
    rates = {way: [] for way in ways}
    batches.STATISTICS_CROPS = bench.batch_size  # once a run, so not of a step
    for way in ways:
        getattr(bench, way)(1)  # imports, and a card's first kernels
    for turn in range(rounds):
        for way, rate in rates.items():
            # What begins and ends a run is not a step: the difference of two lengths is.
            short, _ = getattr(bench, way)(2)
            long, _ = getattr(bench, way)(2 + steps)
            count = steps * bench.batch_size
            rate.append([count / (long.cpu_s - short.cpu_s), count / (long.wall_s - short.wall_s)])
            cpu, wall = rate[-1]
            print(
                f"round {turn} {way:9}: {cpu:6.1f} crops per CPU second, {wall:6.1f} per second",
                flush=True,
            )
    return {way: np.median(np.array(rate), axis=0) for way, rate in rates.items()}


def time_steps(bench, ways, arguments):
    """Print each way's speed, and the ratios."""
    median = measure_rates(bench, ways, rounds=arguments.rounds, steps=arguments.steps)
    for way in set(median) - {"ours"}:
        cpu, wall = median["ours"] / median[way]
        print(f"ours / {way}: {cpu:.3f} by CPU time, {wall:.3f} by time")
    if bench.device.is_cuda:
        print(f"GPU memory, most of all ways: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def compare_losses(bench, ways, arguments):
    """Print the loss that each way reaches with each seed."""
    losses = {way: [] for way in ways if way != "bare"}
    held = bench.held_batches()  # the same for each way and seed
    for bench.seed in map(int, arguments.seeds.split(",")):
        for way, reached in losses.items():
            _, network = getattr(bench, way)(arguments.learn)
            reached.append(bench.loss_on(held, network))
            print(f"seed {bench.seed} {way:9}: {reached[-1]:.3f} on held images", flush=True)
    for way, reached in losses.items():
        print(f"{way}: {np.mean(reached):.3f}, standard deviation {np.std(reached, ddof=1):.3f}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=sized(3, 1))
    parser.add_argument("--steps", type=int, default=sized(24, 1))
    parser.add_argument("--learn", type=int, metavar="STEPS")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ways", default="bare,ours,lightning")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    config = load_config(Path("configs/demo.yaml"), [*JOB, *arguments.overrides])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(config, Path(folder))
        ways = arguments.ways.split(",")
        if "lightning" in ways and importlib.util.find_spec("lightning") is None:
            print("without Lightning, which is not installed")
            ways.remove("lightning")
        (compare_losses if arguments.learn else time_steps)(bench, ways, arguments)


if __name__ == "__main__":
    main()
