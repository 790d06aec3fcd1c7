"""Tasks side by side: what is shown of them, and how the first failure ends the rest."""

import json
import os
import re
import signal
import threading
import time
from dataclasses import replace

import pytest

from pipeline.errors import Stopped
from pipeline.jobs.board import Table
from pipeline.jobs.launch import launch
from pipeline.jobs.local import ThisMachine

pytestmark = pytest.mark.contract


def two():
    return ThisMachine("2", use_gpus=False)


def test_the_first_failure_ends_the_others_and_shows_its_log(tmp_path, make_tasks, caplog):
    started = time.monotonic()
    assert launch(make_tasks("0", "1", "2", failing="1", sleep_s=30), two()) == 1
    assert time.monotonic() - started < 20
    assert not list(tmp_path.glob("seen-*"))
    assert "train fold 1 ended with exit code 1" in caplog.text
    assert "logs/1.log:\n  | part 1 begins\n  | part 1 has a reason" in caplog.text
    assert "part 0 begins" not in caplog.text


def test_elsewhere_than_on_a_terminal_the_lines_of_the_logs_come(tmp_path, make_tasks, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "0.log").write_text("of an earlier run\n")
    assert launch(make_tasks("0", "1"), two()) == 0
    assert sorted(capsys.readouterr().err.splitlines()) == ["part 0 begins", "part 1 begins"]
    text = (tmp_path / "logs" / "0.log").read_text()
    assert text == "of an earlier run\npart 0 begins\n"


def test_a_terminal_gets_one_table_with_a_row_for_each(tmp_path, make_tasks, capsys):
    first, second, third = make_tasks("0", "1", "test:0/2")
    after_first = replace(first, stage="finetune", after=(first,))
    first.progress.parent.mkdir()
    told = {"epoch": "3/7", "loss": 0.47981, "val_loss": 0.51237, "val_dice": 0.8125}
    told |= {"images_per_s": 141.26, "left_s": 62.3}
    first.progress.write_text(json.dumps(told))
    states = {first: "running", second: "running", after_first: "waiting", third: "waiting"}
    with Table(states) as table:
        table.show()
        drawn = capsys.readouterr().err
        states |= {first: "done", after_first: "stopped"}
    drawn, left = (re.sub(r"\x1b\[A|\r", "\n", each) for each in (drawn, capsys.readouterr().err))
    rows = [row.split() for row in drawn.splitlines() if row.strip()]
    heads = ["fold", "stage", "epoch", "loss", "val", "loss", "Dice", "images/s", "time", "left"]
    assert heads in rows
    assert ["0", "train", "3/7", "0.4798", "0.5124", "0.812", "141.3", "01:02"] in rows
    assert ["1", "train", "running"] in rows
    assert ["test:0/2", "train", "waiting"] in rows
    assert [row.split()[0] for row in left.splitlines() if row.strip()][-4:] == [
        *("fold", "0", "1", "test:0/2")
    ]
    assert ["0", "finetune", "3/7", "0.4798", "0.5124", "0.812", "141.3", "stopped"] in [
        row.split() for row in left.splitlines()
    ]


def test_what_an_earlier_run_told_is_forgotten(make_tasks):
    (task,) = make_tasks("0")
    task.progress.parent.mkdir()
    task.progress.write_text("{}")
    assert launch([task], two()) == 0
    assert not task.progress.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_tasks_first(tmp_path, make_tasks, number):
    tasks, before = make_tasks("0", sleep_s=30), signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(1.5, os.kill, (os.getpid(), number))
    timer.start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        launch(tasks, two())
    assert time.monotonic() - started < 20
    assert not list(tmp_path.glob("seen-*"))
    assert signal.getsignal(signal.SIGTERM) == before
