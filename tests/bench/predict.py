"""What stage 4 costs beside the network: reading, symmetries, rounding and storing maps.

    PYTHONPATH=. nice python -m tests.bench.predict [run]

The test images of a finished run (default `runs/demo`) go through the bare network of its fold 0
(batches in memory, one forward pass each), through the whole of stage 4 without symmetries, and
through it with all eight. Each is timed in turn, several times over; the least processor time of
each counts, so that other work on the machine does not. What a stage costs once, such as building
the network, is no image's: one batch is timed as well, and the difference counts.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.compute.device import Device
from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_stored_config
from pipeline.data.catalog import Catalog
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import predict_maps, trained_state
from pipeline.inference.probmaps import MapWriter
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps
from pipeline.networks.build import build_trained
from tests.bench.sizes import sized

ROUNDS = sized(3, 1)
TIMES = sized(3, 6)  # each image
WANTED = {"stage": "predict/test", "fold": None, "seed": 0, "config": {}, "inputs": {}, "files": {}}


def cpu_s(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def whole(config, state, paths, catalog, folder):
    """Predict and store all maps."""
    job = Job("predict/test", None, folder, WANTED)
    writer = MapWriter(job, Part("test"), floor=config.predict.floor)
    device, shape = Device.choose(config.machine), catalog.sizes.common
    network = MeanNetwork(config, device, [state])
    maps = predict_maps(network, paths, shape)
    names = [f"{number}.jpg" for number in range(len(paths))]
    for name, of_image in zip(names, maps, strict=True):
        writer.add(name, of_image)
    writer.end(names, "cpu")


def main():
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    stored = load_stored_config(source / "config.yaml")
    machine = stored.machine.model_copy(update={"device": "cpu", "threads": 1})
    config = stored.model_copy(update={"machine": machine})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    run = Run(config, restart=False)
    catalog = Catalog.of(run)
    paths = [catalog.test_path(name) for name in catalog.usable_test_ids] * TIMES
    paths = paths[: len(paths) // config.predict.batch_size * config.predict.batch_size]
    state = trained_state(run.result("finetune", fold=0))
    head = config.image_head.weight > 0
    device = Device.choose(config.machine)
    network = build_trained(config.network, CHANNELS[config.targets.kind], state, head)
    network = device.place(network).eval()
    images = [cv2.imread(str(path))[:, :, ::-1].transpose(2, 0, 1) for path in paths]
    batches = torch.from_numpy(np.stack(images)).split(config.predict.batch_size)

    def bare(count):
        with torch.inference_mode(), device.autocast():
            for batch in batches[: count // config.predict.batch_size]:
                network(device.move(batch))

    with tempfile.TemporaryDirectory() as name:

        def run_stage(tta, count):
            changed = config.model_copy(
                update={"predict": config.predict.model_copy(update={"tta": tta})}
            )
            whole(changed, state, paths[:count], catalog, Path(name) / tta)

        works = {"bare": bare, "none": partial(run_stage, "none"), "d4": partial(run_stage, "d4")}
        short, long = config.predict.batch_size, len(paths)
        times = {(kind, count): [] for kind in works for count in (short, long)}
        for _ in range(ROUNDS):
            for (kind, count), each in times.items():
                each.append(cpu_s(partial(works[kind], count)))
        once, none, d4 = (
            (min(times[kind, long]) - min(times[kind, short])) / (long - short) for kind in works
        )
        print(
            f"{config.network.arch} with {config.network.encoder}, {len(paths)} images of "
            f"{catalog.sizes.largest[1]} px: bare forward {1e3 * once:.1f} ms an image; stage 4 "
            f"without symmetries {1e3 * none:.1f} ms, {once / none:.3f} of its speed (goal 0.90); "
            f"with d4 {d4 / once:.2f} forwards (goal 8.2)"
        )
        _empty(Path(name) / "empty", catalog.sizes.largest[1])


def _empty(folder, side):
    """What the map of an image without ships leaves on the disk."""
    job = Job("predict/test", None, folder, WANTED)
    writer = MapWriter(job, Part("test"), floor=0.2)
    writer.add("0123456789.jpg", [ImageMaps(np.full((side, side), 20, np.uint8))])
    writer.end(["0123456789.jpg"], "cpu")
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    lines = (folder / "index.csv").read_text().splitlines()
    print(f"an empty image: files {files}, its line {lines[1]!r}")


if __name__ == "__main__":
    main()
