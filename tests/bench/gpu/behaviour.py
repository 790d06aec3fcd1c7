"""What must hold on a card: memory that suffices, float16 that trains, kills that cost nothing."""

import os
import resource
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from pipeline.training.live_progress import HISTORY
from pipeline.training.loop import train
from pipeline.training.sizes import USED_SHARE, WEIGHTS, decide_sizes, kept_bytes
from tests.bench.gpu.job import TINY, training_job, wait
from tests.bench.gpu.part import Number
from tests.bench.sizes import sized
from tests.bench.training import SIDE_PX

GIB = 2**30
LEFT = 12 * GIB  # of the card's memory, so that it ends before MAX_CROPS do
MANY_DIVISORS = 27_720  # crops an epoch: a multiple of each number up to 12
SMALL_CROPS = "crops.size_px=256"
FP16_STEPS, KILL_STEPS = sized((100, 100), (5, 30))  # an epoch
FORK = get_context("fork")


def memory():
    """What a step takes of the memory that `crops.batch_size: auto` counted with."""
    with training_job() as bench:
        device, network = bench.device, bench.network()
        spare = max(device.free_bytes() - LEFT, 0) if device.is_cuda else 0
        ballast = torch.empty(spare, dtype=torch.uint8, device=device.where)
        free, before = device.free_bytes(), _peak(device)
        asked = {"batch_size": "auto", "per_epoch": MANY_DIVISORS}
        crops = decide_sizes(
            *(bench.job(), bench.config.crops.model_copy(update=asked), network, device, SIDE_PX),
            processes=1,
        )
        bench.config = bench.config.model_copy(update={"crops": crops})
        bench.batch_size = crops.batch_size
        yield Number("free memory", free / GIB, "GiB")
        yield Number("auto is crops.batch_size", bench.batch_size)
        state, take = bench.stepper()
        for _ in range(3):
            take()
        wait()
        assert state.parts == 1, f"the batch did not fit: it was computed in {state.parts} parts"
        weights = sum(tensor.nbytes for tensor in network.state_dict().values())
        kept = kept_bytes(network, crops.size_px) * device.dtype.itemsize / 4
        counted, peak = WEIGHTS * weights + bench.batch_size * kept, _peak(device) - before
        yield Number("counted for weights and activations", counted / GIB, "GiB")
        yield Number("taken at most", peak / GIB, "GiB")
        yield Number("taken / counted", peak / counted, at_most=1 / USED_SHARE)
        del ballast  # until here


def _peak(device):
    """Return the most that this process has had, in bytes."""
    if device.is_cuda:
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fp16():
    """The loop in float16: it trains, stays finite, and skips gradients that are not."""
    with training_job(SMALL_CROPS, *TINY) as bench:
        bench.device = replace(bench.device, dtype=torch.float16)
        context = bench.context(bench.crops(FP16_STEPS * bench.batch_size), epochs=2)
        train(context, bench.network())
        history = pd.read_csv(context.job.folder / HISTORY)
        yield Number("steps skipped, of all", history.skipped_steps.sum() / (2 * FP16_STEPS))
        first, last = history.loss
        assert first + last < float("inf"), f"losses of the epochs: {first}, {last}"
        yield Number("loss of the last epoch / first epoch", last / first, at_most=1.0)

        state, take = bench.stepper()
        while not take().taken:  # the scale begins too high
            pass
        weights = list(state.network.parameters())
        before, scale = [weight.detach().clone() for weight in weights], state.scaler.get_scale()
        spoiling = weights[0].register_hook(lambda gradient: gradient * float("inf"))
        assert not take().taken, "a step with infinite gradients was taken"
        assert all(map(torch.equal, before, weights)), "infinite gradients changed weights"
        yield Number("scale after infinite gradients / before", state.scaler.get_scale() / scale)
        spoiling.remove()
        assert take().taken, "the step after one with infinite gradients was skipped"


def kill():
    """Training that is killed and resumed ends with the weights of one that is not.

    All are told to compute deterministically: then it is to the bit. What a card cannot compute so
    is what two undisturbed trainings differ by, and three times that is allowed.
    """
    with tempfile.TemporaryDirectory() as name:
        once, again, killed = folders = [Path(name) / each for each in ("once", "again", "killed")]
        works = [_start(folder) for folder in folders]
        while not (killed / "last.pt").is_file():
            assert works[-1].is_alive(), "training ended before it saved its state"
            time.sleep(0.005)
        works[-1].kill()
        works[-1].join()
        assert not (killed / "final.pt").exists(), "training ended before it was killed"
        # On the CPU: what has used CUDA cannot be forked again.
        state = torch.load(killed / "last.pt", map_location="cpu", weights_only=True)
        yield Number("killed after step", state["step"], f"of {2 * KILL_STEPS}")
        works[-1] = _start(killed)
        for work in works:
            work.join()
            assert work.exitcode == 0, f"training ended with exit code {work.exitcode}"
        by_chance, resumed = (_difference(once, other) for other in (again, killed))
        yield Number("largest difference of a weight, two undisturbed", by_chance)
        yield Number("largest difference of a weight, resumed", resumed, at_most=3 * by_chance)
        assert resumed <= 3 * by_chance, "the resumed training has other weights"


def _start(folder):
    """Start or resume a training in a process of its own."""
    work = FORK.Process(target=_train, args=(folder,))
    work.start()
    return work


def _train(folder):
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True, warn_only=True)
    saving = f"machine.checkpoint_minutes={sized(0.05, 1e-4)}"
    with training_job(SMALL_CROPS, saving, *TINY) as bench:
        folder.mkdir(exist_ok=True)
        crops = bench.crops(KILL_STEPS * bench.batch_size)
        train(bench.context(crops, epochs=2, folder=folder), bench.network())


def _difference(one, other):
    states = [
        torch.load(folder / "final.pt", map_location="cpu", weights_only=True)["model"]
        for folder in (one, other)
    ]
    pairs = zip(*(state.values() for state in states), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)
