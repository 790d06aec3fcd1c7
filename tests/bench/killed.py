"""Kill training at random points, over and over, and compare the weights it ends with.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/bench/killed.py [--times 20] [--seed 0] [key=value]

Fold 0 of the tiny run of tests/tiny.yaml with more epochs, in folders of its own: once from
beginning to end, and once in processes that are killed (SIGKILL) at random moments, with `last.pt`
written at every step, until that has happened so often; then it is let end. The last line says
whether the final weights and the history have the same bits; the exit code is 1 if not.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from pipeline import s0_data, s1_split
from pipeline.config.load import load_config
from pipeline.jobs.run import Run
from pipeline.training.fold import train_fold

TINY = Path(__file__).parents[1] / "tiny.yaml"
OFTEN = ["train.epochs=40", "machine.checkpoint_minutes=1.0e-9", "machine.device=cpu"]
FORK = multiprocessing.get_context("fork")  # a process that has to import torch first takes seconds


def work(config):
    """Train fold 0 from wherever it is."""
    run = Run(config, restart=False)
    job = run.job("train", fold=0, sections=("network", "train"), inputs=[run.result("split")])
    if run.begin(job):
        train_fold(run, job, 0, config.train, start=None)


def kill_once(config, last, choose):
    """Start training, kill it, and return whether it was still at work."""
    process = FORK.Process(target=work, args=(config,))
    before = last.stat().st_mtime_ns if last.exists() else None
    process.start()
    if choose.random() < 0.8:  # most kills fall into the steps, some into what comes before
        while process.is_alive() and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.002)
    time.sleep(choose.uniform(0, 0.3))
    process.kill()
    process.join()
    return process.exitcode != 0


def ended(folder):
    """The final weights, and what was recorded but for the times."""
    weights = torch.load(folder / "final.pt", weights_only=True)["model"]
    history = pd.read_csv(folder / "history.csv")
    return weights, history[[name for name in history if not name.endswith("_s")]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    choose = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        config = load_config(TINY, [*OFTEN, *arguments.overrides])
        whole, broken = (config.model_copy(update={"name": name}) for name in ("whole", "broken"))
        for each in (whole, broken):
            s0_data.stage(Run(each, restart=False))
            s1_split.stage(Run(each, restart=False))
        place = Path("runs/broken/train/fold0")
        kills = 0
        while kills < arguments.times and kill_once(broken, place / "last.pt", choose):
            kills += 1
            path = place / "last.pt"
            step = torch.load(path, weights_only=True)["step"] if path.exists() else 0
            print(f"kill {kills}: last.pt holds step {step}", flush=True)
        for each in (broken, whole):
            process = FORK.Process(target=work, args=(each,))
            process.start()
            process.join()
        (ours, recorded), (theirs, expected) = ended(place), ended(Path("runs/whole/train/fold0"))
        same = recorded.equals(expected) and all(torch.equal(ours[n], theirs[n]) for n in theirs)
        print(f"killed {kills} times: {'the same' if same else 'OTHER'} bits")
        os.chdir("/")
    sys.exit(0 if same and kills == arguments.times else 1)


if __name__ == "__main__":
    main()
