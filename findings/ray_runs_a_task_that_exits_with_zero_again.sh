#!/usr/bin/env bash
# Ray 2.60.0: a task that ends by sys.exit(0), as a stage's command line does, is run four times and
# then reported as a crashed worker.
#
# One would guess that exit code 0 is success, or that the code reaches the caller. Ray takes the end of
# the worker process for the loss of its machine, so max_retries=3 trains a fold that had finished again
# and again. A task has to return the code instead.
#
# Seen: ran 4 times, then WorkerCrashedError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cd "$folder"
RAY_TMPDIR=$folder venv/bin/python - <<'PYTHON'
import sys
from pathlib import Path

import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
log = Path.cwd() / "runs"


@ray.remote
def train(log):
    with log.open("a") as file:
        file.write("ran\n")
    sys.exit(0)


try:
    ray.get(train.remote(log))
    ended = "a result"
except Exception as error:
    ended = type(error).__name__
times = len(log.read_text().splitlines())
print(f"ran {times} times, then {ended}")
assert (times, ended) == (4, "WorkerCrashedError")
PYTHON
