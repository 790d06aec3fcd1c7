"""Worker processes do their work, and are gone with the process that they work for."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from waiting import wait_until

from pipeline.compute.processes import worker_pool

pytestmark = pytest.mark.contract

# Two workers that tell who they are and then work on for long.
AT_WORK = """
import os, sys, time
from pathlib import Path
from pipeline.compute.processes import worker_pool
from pipeline.jobs.command import exit_codes

def work(number):
    Path(f"worker-{os.getpid()}").touch()
    time.sleep(0.3)

if __name__ == "__main__":
    with exit_codes(), worker_pool(2) as pool:
        list(pool.map(work, range(200)))
"""


@pytest.fixture
def at_work(tmp_path):
    """A process, and the ids of its two workers; all of one process group."""
    (tmp_path / "at_work.py").write_text(AT_WORK)
    parent = subprocess.Popen(
        [sys.executable, "at_work.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(list(tmp_path.glob("worker-*"))) == 2, within_s=30)
    yield parent, [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]
    parent.kill()
    parent.communicate()


def gone(process):
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or ") Z " in stat.read_text()


@pytest.mark.parametrize(
    ("number", "code", "last"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGTERM, 75, "stopped by SIGTERM. Run the same command again"),
        (signal.SIGINT, 130, "interrupted. Run the same command again"),
    ],
)
def test_workers_end_with_their_parent_and_say_nothing(at_work, number, code, last):
    parent, workers = at_work
    if number == signal.SIGKILL:
        parent.kill()
    else:
        os.killpg(parent.pid, number)  # as a terminal or a scheduler does
    told = parent.communicate(timeout=60)[1]
    assert parent.returncode == code
    assert "Traceback" not in told
    if last:
        (line,) = told.splitlines()
        assert line.startswith(last)
    wait_until(lambda: all(gone(worker) for worker in workers), within_s=10)


def test_work_comes_back_from_workers_that_are_prepared(tmp_path):
    with worker_pool(2, partial(os.chdir, tmp_path)) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
        assert pool.submit(os.getppid).result() == os.getpid()
        assert pool.submit(os.getcwd).result() == str(tmp_path)
