"""Modules run in processes that are forked from a server which has imported torch.

`python -m` takes three seconds to import what the work takes one for. What such a process does is
the same: it has a folder, an environment, arguments, an output and an exit code of its own.
"""

import multiprocessing
import os
import runpy
import socket
import sys

SERVER = multiprocessing.get_context("forkserver")
# Libraries only: what the project's modules import, in which order, is tried in each process. The
# first makes the second importable beside a CPU-only torch.
SERVER.set_forkserver_preload(
    [
        *("pipeline.networks", "segmentation_models_pytorch", "albumentations"),
        *("pandas", "sklearn.ensemble"),
    ]
)


def start(folder, environment, log, module, *arguments):
    """Start `python -m module arguments` in `folder`; what it prints goes to `log`."""
    process = SERVER.Process(target=_work, args=(folder, environment, log, module, arguments))
    process.start()
    return process


def start_group(folder, environment, logs, module, *arguments):
    """Start one process for each log, together a group as torchrun would name it to them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    group = {"WORLD_SIZE": str(len(logs)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        start(
            folder,
            environment | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            *(log, module, *arguments),
        )
        for rank, log in enumerate(logs)
    ]


def _work(folder, environment, log, module, arguments):
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
