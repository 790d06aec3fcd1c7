"""How a stage ends: by which code, with which words, and what is left."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from pipeline.config.load import load_config
from pipeline.jobs.command import exit_codes
from pipeline.jobs.lock import Lock

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
STAGE = [sys.executable, "-m", "pipeline.s0_data", "--config", str(ROOT / "configs/demo.yaml")]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts stage 0 in `tmp_path`, which renders a demo for a while."""
    started = []

    def start(*command, **environment):
        started.append(
            subprocess.Popen(
                command or STAGE,
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("after_s", [0.1, 0.4, 2.5])
def test_sigterm_at_any_moment_ends_with_75_and_nothing_half_done(tmp_path, start, after_s):
    stage = start()
    time.sleep(after_s)
    stage.terminate()
    told = stage.communicate(timeout=60)[1]
    assert stage.returncode == 75, told
    assert "Traceback" not in told
    assert not [*tmp_path.glob("data/demo-*"), *tmp_path.glob("data/.demo-*.tmp")]


def test_ctrl_c_ends_with_130_and_one_line(tmp_path, start):
    stage = start()
    wait_until(lambda: list(tmp_path.glob("data/.*/train_v2/*")), within_s=20)
    stage.send_signal(signal.SIGINT)
    told = stage.communicate(timeout=60)[1]
    assert stage.returncode == 130
    assert told.splitlines()[-1].startswith("interrupted. Run the same command again")
    assert "Traceback" not in told


def test_a_killed_parent_takes_the_stage_with_it(tmp_path, start):
    script = f"{' '.join(STAGE)} & echo $! > pid; wait"
    parent = start("bash", "-c", f"PIPELINE_PARENT=$$ {script}")
    wait_until(lambda: list(tmp_path.glob("data/.*/train_v2/*")), within_s=20)
    parent.kill()
    parent.wait()
    stage = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    wait_until(lambda: not stage.exists() or ") Z " in stage.read_text(), within_s=5)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "Give yourself the permission"),
        (errno.EROFS, "Use a folder that can be written"),
        (errno.ENOTDIR, "A file stands where a folder should be"),
        (errno.ENOSPC, "The disk has no space or no inodes left"),
        (errno.EMFILE, "Allow more open files"),
        (errno.EIO, "Correct that on this machine"),
    ],
)
def test_what_the_system_refuses_is_told_with_path_and_advice(caplog, number, advice):
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise OSError(number, os.strerror(number), "runs/demo")
    assert ended.value.code == 2
    assert f"runs/demo: {os.strerror(number)}. {advice}" in caplog.text


def test_an_error_of_the_program_keeps_its_traceback():
    with pytest.raises(OSError, match="mine"), exit_codes():
        raise OSError("mine")


def test_a_file_where_the_runs_should_be_is_told(tmp_path, start):
    (tmp_path / "data").write_text("a file")
    stage = start()
    told = stage.communicate(timeout=60)[1]
    assert stage.returncode == 2
    assert "data" in told
    assert "Traceback" not in told


def test_two_first_runs_at_once_share_the_demo(tmp_path, start):
    config = tmp_path / "small.yaml"
    demo = "{seed: 3, tile_px: 96, train_tiles: 40, test_tiles: 9, empty_share: 0.5}"
    config.write_text(f"base: {ROOT / 'tests/tiny.yaml'}\ndata: {{demo: {demo}}}\n")
    command = [*STAGE[:-1], str(config)]
    folder = tmp_path / load_config(config, []).data_folder
    folder.parent.mkdir()
    with Lock(folder.with_name(f".{folder.name}.lock"), "the test").take():
        pair = [start(*command, f"name={name}") for name in "ab"]
        for stage in pair:
            assert any("waiting for process" in line for line in stage.stderr)
    told = [stage.stderr.read() for stage in pair]
    assert [stage.wait(timeout=60) for stage in pair] == [0, 0], told
    assert [text.count("rendering the demo") for text in told].count(1) == 1
    assert len(list((folder / "train_v2").iterdir())) == 40
    made = [(tmp_path / "runs" / name / "data/catalog.json").read_bytes() for name in "ab"]
    assert made[0] == made[1]
