"""What stage 4 costs beside the network: reading, symmetries, rounding and storing maps.

    PYTHONPATH=. nice python tests/bench/predict.py [config] [side] [images]

`images` rendered noise pictures of `side` px go through the bare network (batches in memory, one
forward pass each), through the whole of stage 4 without symmetries, and through it with all eight.
Each is timed in turn, several times over; the least processor time of each counts, so that other
work on the machine does not.
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.config import load_config
from pipeline.data.targets import CHANNELS
from pipeline.inference.predict import predict_maps
from pipeline.inference.probmaps import MapWriter
from pipeline.networks.build import build_network
from pipeline.parts import Part
from pipeline.run import Job
from pipeline.ships.separate import ImageMaps
from pipeline.training.device import Device

ROUNDS = 5


def cpu_s(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def whole(config, state, paths, side, folder):
    """Predict and store all maps."""
    job = Job("predict/test", None, folder, dict.fromkeys(("stage", "fold", "seed", "files"), ""))
    writer = MapWriter(job, Part("test"), floor=config.predict.floor)
    maps = predict_maps(
        *(config, Device.choose(config.machine), [state], paths), height=side, width=side
    )
    for path, of_image in zip(paths, maps, strict=True):
        writer.add(path.name, of_image)
    writer.end([path.name for path in paths], "cpu")


def main():
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "configs/demo.yaml")
    side, count = (int(text) for text in (sys.argv[2:] + ["768", "16"][len(sys.argv[2:]) :]))
    config = load_config(source, ["network.weights=none", "machine.device=cpu"])
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    channels = CHANNELS[config.targets.kind]
    network = build_network(config.network, channels, config.image_head.weight > 0)
    device = Device.choose(config.machine)
    network = device.place(network).eval()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        paths = [folder / f"{i}.jpg" for i in range(count)]
        for path in paths:
            small = random.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
            cv2.imwrite(str(path), cv2.resize(small, (side, side)))
        batches = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8).split(
            config.predict.batch_size
        )

        def run(tta):
            changed = config.model_copy(
                update={"predict": config.predict.model_copy(update={"tta": tta})}
            )
            whole(changed, network.state_dict(), paths, side, folder / tta)

        works = {
            "bare": lambda: [network(device.move(batch)) for batch in batches],
            "none": lambda: run("none"),
            "d4": lambda: run("d4"),
        }
        times = {kind: [] for kind in works}
        for _ in range(ROUNDS):
            for kind, work in works.items():
                times[kind].append(cpu_s(work))
        bare, none, d4 = (min(each) / count for each in times.values())
        print(
            f"{config.network.arch} with {config.network.encoder}, {side} px, {count} images: "
            f"bare forward {1e3 * bare:.1f} ms an image; stage 4 without symmetries "
            f"{1e3 * none:.1f} ms, {bare / none:.3f} of its speed (goal 0.90); with d4 "
            f"{d4 / bare:.2f} forwards (goal 8.2)"
        )
        _empty(folder / "empty", side)


def _empty(folder, side):
    """What the map of an image without ships leaves on the disk."""
    job = Job("predict/test", None, folder, dict.fromkeys(("stage", "fold", "seed", "files"), ""))
    writer = MapWriter(job, Part("test"), floor=0.2)
    writer.add("0123456789.jpg", ImageMaps(np.full((side, side), 20, np.uint8)))
    writer.end(["0123456789.jpg"], "cpu")
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    lines = (folder / "index.csv").read_text().splitlines()
    print(f"an empty image: files {files}, its line {lines[1]!r}")


if __name__ == "__main__":
    main()
