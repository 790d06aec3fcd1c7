"""How fast: the loop, its parts, prediction, and the loaders that feed them."""

import time
from collections import deque
from dataclasses import replace
from itertools import cycle, islice

import torch
from torch import nn

from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import predict_maps
from pipeline.inference.regions import Look
from tests.bench.gpu.job import SECONDS, TINY, call_s, job_of, training_job
from tests.bench.gpu.part import Number
from tests.bench.lovasz import comparisons
from tests.bench.sizes import sized
from tests.bench.training import SIDE_PX, measure_rates

WORKERS = sized((8, 15), (0, 1))
# So wide a margin that images with a ship take about three passes, as the competition's do with
# narrower ones and more false alarms, and most of them empty.
LOOK = Look(0.5, 160)
PREDICTED = [  # name, `predict.tta`, where to look again, images
    ("predict.tta=none", "none", None, 1280),
    ("predict.tta=d4", "d4", None, 256),
    ("predict.tta=d4, second look", "d4", LOOK, 640),
]


def loop():
    """The training loop beside the bare step."""
    with training_job() as bench:
        yield from _beside(bench, "bare", at_least=0.9)


def lightning():
    """The training loop beside smp's U-Net in Lightning's Trainer."""
    with training_job() as bench:
        yield from _beside(bench, "lightning", at_least=1.3)


def _beside(bench, other, *, at_least):
    steps = max(int(SECONDS / _step_s(bench)), sized(20, 2))
    rates = measure_rates(bench, [other, "ours"], rounds=1, steps=steps)
    (_, theirs), (_, ours) = rates[other], rates["ours"]
    yield Number(other, theirs, "crops/s")
    yield Number("loop", ours, "crops/s")
    yield Number(f"loop / {other}", ours / theirs, at_least=at_least)


def _step_s(bench):
    """Return the seconds of the loop's step on a batch that is there."""
    return call_s(bench.stepper()[1])


def algorithms():
    """The loop's step as it is, and with cuDNN trying its algorithms."""
    with training_job(*TINY) as bench:
        plain_s = yield from _step("plain", bench)
        torch.backends.cudnn.benchmark = True
        tried_s = yield from _step("cudnn.benchmark", bench)
        yield Number("cudnn.benchmark / plain, in speed", plain_s / tried_s)


def compiled():
    """The loop's step as it is, and with torch.compile, which takes a minute for ResNet34."""
    torch.compiler.set_stance(sized("default", "force_eager"))  # a CPU compiles for minutes
    with training_job(*sized(["network.encoder=resnet18"], TINY)) as bench:
        plain_s = yield from _step("plain", bench)
        machine = bench.config.machine.model_copy(update={"compile": True})
        bench.config = bench.config.model_copy(update={"machine": machine})
        compiled_s = yield from _step("compiled", bench)
        yield Number("compiled / plain, in speed", plain_s / compiled_s)


def _step(name, bench):
    """Yield what a first step and a later one take; return the later one's seconds."""
    _, take = bench.stepper()
    started = time.perf_counter()
    take().loss.item()
    yield Number(f"{name}: first step", time.perf_counter() - started, "s")
    step_s = call_s(take, seconds=SECONDS / 2)  # compiling leaves little time
    yield Number(f"{name}: step", 1e3 * step_s, "ms")
    return step_s


def shares():
    """What average, clipping and optimiser take: each by itself, so at most this of a step."""
    with training_job() as bench:
        state, take = bench.stepper()
        step_s = call_s(take)  # leaves gradients
        yield Number("step", 1e3 * step_s, "ms")
        parameters = list(state.network.parameters())
        works = {
            "average (EMA)": lambda: state.ema.update(1),
            "clipping": lambda: nn.utils.clip_grad_norm_(parameters, 1.0),
            "optimiser": state.optimizer.step,
        }
        for name, work in works.items():
            yield Number(f"{name} / step", call_s(work) / step_s)


def loaders():
    """How long the card waits for batches: the competition's own crops and changes."""
    changes = "network.weights=none", "machine.image_cache_mib=0", *TINY
    with job_of("configs/airbus.yaml", *changes) as bench:
        step_s = _step_s(bench)
        yield Number("step on a batch that is there", bench.batch_size / step_s, "crops/s")
        # Twice as long as others: each process is ahead by a batch when the first comes.
        steps = max(int(2 * SECONDS / step_s), sized(100, 2))
        for workers in WORKERS:
            bench.device = replace(bench.device, loader_workers=workers)
            _, rate = measure_rates(bench, ["ours"], rounds=1, steps=steps)["ours"]
            yield Number(f"loop, {workers} loader processes", rate, "crops/s")
            idle = max(1 - rate * step_s / bench.batch_size, 0.0)
            yield Number(f"share of time without a batch, {workers}", idle, at_most=0.1)


def prediction():
    """Whole images through a network that has seen ships, with and without a second look."""
    changes = "crops.size_px=256", "crops.object_share=0.5", "crops.empty_share=0.3"
    with training_job(*changes) as bench:
        _, trained = bench.ours(sized(300, 2))
        paths = cycle(bench.paths[1::2])  # those with a ship
        rates = []
        for what, tta, look, count in PREDICTED:
            settings = bench.config.predict.model_copy(update={"tta": tta})
            config = bench.config.model_copy(update={"predict": settings})
            network = MeanNetwork(config, bench.device, [trained.state_dict()], look)
            rates.append(_images_per_s(network, paths, count))
            yield Number(what, rates[-1], "images/s")
        work = network.work
        yield Number("passes an image, second look", work.pixels / work.images)
        yield Number("second look / all passes", rates[-1] / rates[-2], at_least=2.2)


def _images_per_s(network, paths, count):
    """Return the speed of `predict_maps`; what begins and ends it is no image."""
    short = sized(128, 8)  # as many as a card is given at once
    long = short + sized(count, short)
    several = list(islice(paths, long))

    def seconds(images):
        started = time.perf_counter()
        deque(predict_maps(network, several[:images], (SIDE_PX, SIDE_PX)), maxlen=0)
        return time.perf_counter() - started

    seconds(short)
    return (long - short) / (seconds(long) - seconds(short))


def lovasz():
    """The Lovász losses on a whole batch beside a loop over its images."""
    for one in comparisons(sized("cuda", "cpu")):
        yield Number(f"{one.name}: loop", one.loop_ms, "ms")
        yield Number(f"{one.name}: batch", one.batch_ms, "ms")
        yield Number(f"{one.name}: loop / batch", one.ratio, at_least=1.0)
