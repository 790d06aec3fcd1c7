"""Which networks can be exported, how far the files are from torch, and how fast they are.

    python -m tests.bench.exports          every configuration and architecture, random weights
    python -m tests.bench.exports speed    two networks at 768 px, in torch and in ONNX Runtime

Prints Markdown tables. The first holds the largest difference of a probability from the networks'
own, as `export_model` computes it, of noise of several sizes; BatchNorm's statistics are estimated
on noise before, since without them random weights make numbers of any size. The second holds the
least time of rounds in which all take turns, for TIMED_S and two rounds at least, and its ratio to
torch in float32.
"""

import copy
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.compute.device import Device
from pipeline.config.architectures import architectures
from pipeline.config.fields import channels
from pipeline.config.load import load_config
from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.networks.build import build_network
from pipeline.package.graph import Graph, exporting, trace
from pipeline.package.graph_forms import FORMS, largest_difference
from tests.bench.machine import processor
from tests.bench.sizes import sized

TIMED_S = sized(40, 0)
SIDE_PX, BATCHES = sized(768, 96), sized((1, 4), (1,))
SMALL = Network(
    arch="unet_original", encoder=None, weights="none", options={"width": 2, "depth": 1}
)
TIMED = {
    "demo": Path("configs/demo.yaml"),
    "unet, resnet34": Path("configs/airbus.yaml"),
}


def main():
    table() if sys.argv[1:] == [] else speed()


def networks():
    """Yield (name, network's section, its kind of target, classes, image head), each kind once."""
    if sized(False, True):
        yield "small", SMALL, "object", 1, False
        return
    seen = set()
    for path in sorted(Path("configs").rglob("*.yaml")):
        config = load_config(path, ["network.weights=none"])
        kind, classes = config.targets.kind, len(config.task.classes)
        one = config.network, kind, classes, config.image_head.weight > 0
        known = repr((config.network, kind, one[-1]))  # more classes are more of the same
        if known not in seen:
            seen.add(known)
            yield path.stem, *one
    for arch, known in architectures().items():
        if not Path(f"configs/networks/{arch}.yaml").exists():
            encoder = known.shown_with or "resnet34"
            section = Network(arch=arch, encoder=encoder, weights="none", options={})
            yield f"network.arch={arch}", section, "object", 1, False


def settled(network):
    """Return a network whose BatchNorms know the statistics of noise."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    side_px = max(128, 2 * network.stride)
    with torch.inference_mode():
        for _ in range(3):
            network.train()(noise(2, side_px, side_px))
    return network.eval()


def noise(count, height, width):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def agreements(network, kind, size):
    """Export in each form, read back and compare: largest differences, or why there is none."""
    graph = Graph([network], kind, size)
    least, stride = graph.least_px, graph.stride
    free = [(least, least), (3 * stride, 4 * stride), (2 * stride + 3, 3 * stride + 1)]
    sizes = [size] if size else free
    batches = [noise(count, *one) for one in sizes for count in (1, 2)]
    program, found = None, []
    for name, form in FORMS.items():
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            file = Path(folder) / f"file{form.ending}"
            try:
                with exporting(graph, name):
                    program = program or trace(graph)
                    form.save(graph, program, file, {})
                    found.append(f"{largest_difference(graph, form.read(file), batches):.0e}")
            except ConfigError as error:
                found.append(f"no: {error}")
    return found


def table():
    print("| configuration | network | ONNX, one size | ONNX, any size | torch, one | torch, any |")
    print("|---|---|---|---|---|---|")
    for name, section, kind, classes, head in networks():
        torch.manual_seed(0)
        network = settled(build_network(section, channels(kind, classes), head))
        fixed = (2 * network.stride + 3, 3 * network.stride)
        each = zip(*(agreements(network, kind, size) for size in (fixed, None)), strict=True)
        cells = [cell for of_form in each for cell in of_form]
        shown = " ".join(filter(None, (section.arch, section.encoder, head * "+ image head")))
        print(f"| {name} | {shown} | {' | '.join(cells)} |", flush=True)


def variants(network, folder):
    """Return what computes a network from uint8 images, by name."""
    size = SIDE_PX, SIDE_PX
    graph = Graph([network], "object", size)
    last = Graph([copy.deepcopy(network)], "object", size).to(memory_format=torch.channels_last)

    def half(images):
        with torch.autocast("cpu", torch.bfloat16):
            return last(images)

    found = {"torch": graph, "torch, channels last": last, "the same in bfloat16": half}
    for form, size_or_any, name in (
        ("torch-export", size, "torch.export, one size"),
        ("onnx", size, "ONNX Runtime, one size"),
        ("onnx", None, "ONNX Runtime, any size"),
    ):
        _, ending, save, read = FORMS[form]
        file, exported = folder / f"{name}{ending}", Graph([network], "object", size_or_any)
        save(exported, trace(exported), file, {})
        found[name] = read(file)
    return found


def least_s(found, count):
    """Return the least wall time and processor time of each, s, all taking turns."""
    images = noise(count, SIDE_PX, SIDE_PX)
    taken, began = {by: [] for by in found}, time.perf_counter()
    while len(taken["torch"]) < 3 or time.perf_counter() - began < TIMED_S:
        for by, function in found.items():
            start = time.perf_counter(), time.process_time()
            function(images)
            taken[by].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {by: np.array(each[1:]).min(0) for by, each in taken.items()}


def speed():
    torch.set_num_threads(2)
    Device.choose(load_config(TIMED["demo"], []).machine)  # freed memory is kept, as in a run
    print(f"{processor()}, 2 threads, {SIDE_PX} x {SIDE_PX} px\n")
    print(
        "| network | images | by | wall, ms an image | times torch | processor, ms | times torch |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, path in TIMED.items():
        torch.manual_seed(0)
        section = load_config(path, ["network.weights=none"]).network
        network = settled(build_network(section, 1))
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            found = variants(network, Path(folder))
            for count in BATCHES:
                least = least_s(found, count)
                for by, (wall_s, processor_s) in least.items():
                    faster = least["torch"] / (wall_s, processor_s)
                    wall = f"{wall_s / count * 1e3:.0f} | {faster[0]:.2f}"
                    processor_ = f"{processor_s / count * 1e3:.0f} | {faster[1]:.2f}"
                    print(f"| {name} | {count} | {by} | {wall} | {processor_} |", flush=True)


if __name__ == "__main__":
    main()
