"""Parallel folds: each once, on a place of its own, and the first failure ends the rest."""

import json
import sys
import time

import pytest

from pipeline.errors import ConfigError
from pipeline.launch import Slots, launch

pytestmark = pytest.mark.unit

RECORD = """
import json, os, sys, time
from pathlib import Path
part = sys.argv[sys.argv.index("--folds") + 1]
out = Path(sys.argv[1])
keys = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TQDM_POSITION")
seen = {key: os.environ.get(key) for key in keys} | {"start": time.time()}
if part == sys.argv[2]:
    sys.exit(2)
time.sleep(float(sys.argv[3]))
(out / f"{part}.json").write_text(json.dumps(seen | {"end": time.time()}))
"""


def run(folder, parts, slots, *, failing="", sleep_s=0.2):
    command = [sys.executable, "-c", RECORD, str(folder), failing, str(sleep_s)]
    return launch(command, parts, slots)


def test_every_part_runs_once_and_no_place_is_used_twice_at_a_time(tmp_path):
    slots = Slots([{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}])
    assert run(tmp_path, ["0", "1", "2", "test"], slots) == 0
    seen = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(seen) == {"0", "1", "2", "test"}
    for gpu in ("4", "7"):
        times = sorted(
            (one["start"], one["end"])
            for one in seen.values()
            if one["CUDA_VISIBLE_DEVICES"] == gpu
        )
        assert len(times) == 2
        assert times[0][1] <= times[1][0]


def test_the_first_failure_ends_the_others_and_gives_the_exit_code(tmp_path, capfd):
    started = time.monotonic()
    assert run(tmp_path, ["0", "1", "2"], Slots([{}, {}]), failing="1", sleep_s=30) == 2
    assert time.monotonic() - started < 10
    assert not list(tmp_path.glob("*.json"))
    assert "--folds 1 ended with exit code 2" in capfd.readouterr().err


@pytest.mark.parametrize(("jobs", "count"), [("1", 1), ("2", 2), ("9", 3)])
def test_the_number_of_places_is_as_asked_but_not_above_the_parts(monkeypatch, jobs, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    slots = Slots.of_this_machine(jobs, 3, use_gpus=True)
    assert len(slots.environments) == count


def test_auto_is_one_per_gpu_where_there_are_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    slots = Slots.of_this_machine("auto", 5, use_gpus=True)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in slots.environments] == ["2", "3"]
    alone = Slots.of_this_machine("auto", 5, use_gpus=False)
    assert all("CUDA_VISIBLE_DEVICES" not in one for one in alone.environments)


def test_cores_are_divided(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    slots = Slots.of_this_machine("2", 5, use_gpus=False)
    assert [one["OMP_NUM_THREADS"] for one in slots.environments] == ["4", "4"]


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_jobs_is_named(jobs):
    with pytest.raises(ConfigError, match=f"--jobs {jobs}: expected auto or a number"):
        Slots.of_this_machine(jobs, 2, use_gpus=False)
