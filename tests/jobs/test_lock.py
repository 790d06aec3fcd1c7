"""Locks keep other processes out, and are gone with the process that held them."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pipeline.errors import ArtifactError
from pipeline.jobs.lock import Lock, seen_by_other_machines

pytestmark = pytest.mark.contract

HOLDER = """
import os, sys, time
from pathlib import Path
from pipeline.jobs.lock import Lock
lock = Lock(Path(sys.argv[1]), "x").take(shared=sys.argv[2] == "shared")
if os.fork() == 0:  # a loader process, which outlives its parent for a while
    time.sleep(5)
    os._exit(0)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a function that starts a process which holds `tmp_path/lock`."""
    started = []

    def start(kind="alone"):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock"), kind]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_who_comes_second_is_told_who_holds_it(tmp_path, holder):
    process = holder()
    with pytest.raises(ArtifactError) as refused:
        Lock(tmp_path / "lock", "train fold 0").take()
    said = str(refused.value)
    host, year = re.escape(os.uname().nodename), time.strftime("%Y")
    assert re.match(rf"train fold 0: process {process.pid} on {host} since {year}-", said)


def test_a_killed_holder_leaves_it_free_though_its_children_live(tmp_path, holder):
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    Lock(tmp_path / "lock", "x").take().release()


def test_shared_holders_keep_out_only_who_wants_it_alone(tmp_path, holder):
    holder("shared")
    Lock(tmp_path / "lock", "x").take(shared=True).release()
    with pytest.raises(ArtifactError, match="at work on it"):
        Lock(tmp_path / "lock", "x").take()


def test_who_waits_gets_it_when_it_is_free(tmp_path, holder, caplog):
    process = holder()
    os.kill(process.pid, signal.SIGSTOP)  # does not free it
    with caplog.at_level("INFO"), Lock(tmp_path / "lock", "the ledger") as lock:
        timer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {process.pid}"])
        lock.take(wait=True)
        timer.wait()
    assert f"the ledger: waiting for process {process.pid} on" in caplog.text


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with pytest.raises(ArtifactError, match=r"the file system has no locks \(No locks available"):
        Lock(tmp_path / "lock", "x").take()


@pytest.mark.parametrize(
    ("options", "seen"),
    [("rw,vers=4.2", True), ("rw,nolock,vers=3", False), ("rw,localflock", False)],
)
def test_mount_options_say_whether_other_machines_see_locks(tmp_path, options, seen):
    mounts = tmp_path / "mounts"
    shared = tmp_path / "on shared"
    spelled = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/x / ext4 rw 0 0\nserver:/x {spelled} nfs {options} 0 0\n")
    assert seen_by_other_machines(shared / "runs", mounts) == seen
    assert seen_by_other_machines(tmp_path, mounts)
