"""This machine, divided: a task has its GPUs and cores to itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import running, wait_until

from pipeline.errors import ConfigError
from pipeline.jobs.launch import launch
from pipeline.jobs.local import ThisMachine
from pipeline.jobs.tasks import Processes

pytestmark = pytest.mark.contract


def seen(folder):
    return {p.stem.removeprefix("seen-"): json.loads(p.read_text()) for p in folder.glob("seen-*")}


def test_every_task_runs_once_and_no_place_is_used_twice_at_a_time(
    tmp_path, make_tasks, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    tasks = make_tasks("0", "1", "2", "test")
    assert launch(tasks, ThisMachine("auto", use_gpus=True)) == 0
    records = seen(tmp_path)
    assert set(records) == {"0-0", "1-0", "2-0", "test-0"}
    for gpu in ("4", "7"):
        times = sorted(
            (one["start"], one["end"])
            for one in records.values()
            if one["CUDA_VISIBLE_DEVICES"] == gpu
        )
        assert len(times) == 2
        assert times[0][1] <= times[1][0]


def test_processes_of_a_task_are_ranks_of_a_group_each_with_a_gpu(
    tmp_path, make_tasks, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    machine = ThisMachine("auto", use_gpus=True)
    assert machine.places(2) == 2
    assert launch(make_tasks("0", "1", processes=2), machine) == 0
    records = seen(tmp_path)
    assert set(records) == {"0-0", "0-1", "1-0", "1-1"}
    assert {one["WORLD_SIZE"] for one in records.values()} == {"2"}
    assert {one["CUDA_VISIBLE_DEVICES"] for one in records.values()} == {"0,1", "2,3"}
    assert [bool(records[f"0-{rank}"]["PIPELINE_PROGRESS"]) for rank in (0, 1)] == [True, False]


def test_what_is_free_goes_to_the_next_stages_task(tmp_path, make_tasks, monkeypatch):
    """A fold's second task starts while another's first runs, on the GPUs that the first had."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    short, long = *make_tasks("0"), *make_tasks("1", sleep_s=2)
    nexts = make_tasks("2", after=[short]), make_tasks("3", after=[long])
    both = make_tasks("4", processes=2, after=[nexts[0][0], nexts[1][0]])
    tasks = [short, long, *nexts[0], *nexts[1], *both]
    assert launch(tasks, ThisMachine("auto", use_gpus=True)) == 0
    records = seen(tmp_path)
    assert records["2-0"]["end"] < records["1-0"]["end"] < records["3-0"]["start"]
    assert records["2-0"]["CUDA_VISIBLE_DEVICES"] == records["0-0"]["CUDA_VISIBLE_DEVICES"]
    assert records["3-0"]["end"] < min(records["4-0"]["start"], records["4-1"]["start"])


def test_a_lost_member_ends_the_group_and_gives_its_code(make_tasks):
    (task,) = make_tasks("0", sleep_s=60, processes=2)
    task.log.parent.mkdir()
    work = Processes(task, {})
    os.kill(work._members[1].pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (code := work.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert code == 128 + signal.SIGKILL
    assert all(member.exitcode is not None for member in work._members)


LAUNCHER = """
import signal, sys, time; from pathlib import Path
from pipeline.jobs.tasks import Processes, Task
signal.signal(signal.SIGTERM, lambda *_: None)
work = Processes(Task('', '', '', ('child',), Path('log'), Path('progress')), {})
print(work._members[0].pid, flush=True)
while work.poll() is None: time.sleep(.1)
sys.exit(work.poll())
"""
CHILD = """
import signal, sys, time; from pathlib import Path
from pipeline.jobs.tasks import end_with_parent
def save(*_):
    time.sleep(0.5); Path('saved').touch(); sys.exit(75)
signal.signal(signal.SIGTERM, save)
end_with_parent(); Path('alive').touch(); time.sleep(60)
"""


@pytest.fixture
def launched(tmp_path):
    """A launcher in a process group of its own, and the number of its task's process."""
    (tmp_path / "child.py").write_text(CHILD)
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    child = int(launcher.stdout.readline())
    wait_until((tmp_path / "alive").exists, within_s=20)
    yield launcher, child
    launcher.kill()


def test_a_killed_launcher_leaves_nothing_behind(launched):
    """The server asks the kernel to end with its launcher, and its forks to end with it."""
    launcher, child = launched
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not running(child), within_s=20)


def test_sigterm_to_all_processes_lets_tasks_save(tmp_path, launched):
    launcher, _ = launched
    os.killpg(launcher.pid, signal.SIGTERM)
    assert launcher.wait(timeout=60) == 75
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(("jobs", "count"), [("1", 1), ("2", 2), ("9", 9), ("auto", 3)])
def test_the_number_of_places_is_as_asked_else_that_of_the_gpus(monkeypatch, jobs, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    assert ThisMachine(jobs, use_gpus=True).places(1) == count


def test_tasks_share_gpus_only_where_more_are_asked_for(tmp_path, make_tasks, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert launch(make_tasks("0", "1", "2", sleep_s=1), ThisMachine("3", use_gpus=True)) == 0
    records = [seen(tmp_path)[f"{part}-0"] for part in range(3)]
    assert max(one["start"] for one in records) < min(one["end"] for one in records)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in records] == ["2", "3", "2"]


def test_no_task_gets_a_gpu_where_none_is_wanted(tmp_path, make_tasks, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert launch(make_tasks("0"), ThisMachine("auto", use_gpus=False)) == 0
    assert seen(tmp_path)["0-0"]["CUDA_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize(
    ("listed", "places"),
    [
        ("GPU 0: NVIDIA A (UUID: GPU-1)\nGPU 1: NVIDIA A (UUID: GPU-2)", 2),
        ("GPU 0: NVIDIA A (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-1)", 1),
        ("NVIDIA-SMI has failed because it could not reach the driver.\nIs it running?", 8),
    ],
)
def test_gpus_are_counted_by_their_own_lines(tmp_path, monkeypatch, listed, places):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{listed}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert ThisMachine("auto", use_gpus=True).places(1) == places


def test_cores_are_divided_among_what_runs(tmp_path, make_tasks, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    machine = ThisMachine("auto", use_gpus=False)
    assert [machine.places(processes) for processes in (1, 2, 9)] == [8, 4, 1]
    for tasks, processes, cores in ((2, 1, 4), (5, 1, 1), (1, 2, 8), (4, 2, 2), (1, 9, 9)):
        assert machine.cores(tasks, processes) == cores
    tasks = [*make_tasks("0", cores=5), *make_tasks("1", cores=3), *make_tasks("2", cores=8)]
    assert launch(tasks, machine) == 0
    records = [seen(tmp_path)[f"{part}-0"] for part in range(3)]
    assert [one["OMP_NUM_THREADS"] for one in records] == ["5", "3", "8"]
    assert records[1]["start"] < records[0]["end"]
    assert max(one["end"] for one in records[:2]) < records[2]["start"]


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_jobs_is_named(jobs):
    with pytest.raises(ConfigError, match=f"--jobs {jobs}: expected auto or a number"):
        ThisMachine(jobs, use_gpus=False)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ConfigError, match=r"processes_per_fold: 2: expected at most 1"):
        ThisMachine("auto", use_gpus=True).places(2)
