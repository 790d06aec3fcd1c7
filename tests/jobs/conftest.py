"""A module to launch, and tasks that launch it."""

from pathlib import Path

import pytest

from pipeline.jobs.tasks import Task

RECORD = """
import json, os, sys, time
from pathlib import Path
from pipeline.jobs.tasks import end_with_parent
end_with_parent()
part, failing, sleep_s = sys.argv[1:]
keys = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "RANK", "WORLD_SIZE", "PIPELINE_PROGRESS")
seen = {key: os.environ.get(key) for key in keys} | {"start": time.time()}
print(f"part {part} begins", flush=True)
if part in failing.split(","):
    sys.exit(f"part {part} has a reason")
time.sleep(float(sleep_s))
rank = seen["RANK"] or "0"
Path(f"seen-{part}-{rank}.json").write_text(json.dumps(seen | {"end": time.time()}))
"""


@pytest.fixture
def make_tasks(tmp_path, monkeypatch):
    """Return a function that makes a task for each part; the record of each lands in tmp_path."""
    (tmp_path / "record.py").write_text(RECORD)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)

    def make(*parts, failing="", sleep_s=0.2, processes=1, cores=1, after=()):
        return [
            Task(
                label=f"train fold {part}",
                stage="train",
                part=part,
                command=("record", part, failing, str(sleep_s)),
                log=Path("logs") / f"{part}.log",
                progress=Path("logs") / f"{part}.json",
                processes=processes,
                cores=max(cores, processes),
                after=tuple(after),
            )
            for part in parts
        ]

    return make
