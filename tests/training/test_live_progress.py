"""What is seen of a training: plain lines where nobody watches, history, curves."""

import importlib.util
import time

import pandas as pd
import pytest
from toy_training import STEPS, job_in, run

from pipeline.compute.group import Group
from pipeline.errors import ConfigError
from pipeline.jobs import progress
from pipeline.jobs.progress import read_progress
from pipeline.training import live_progress as watch
from pipeline.training.live_progress import EpochProgress, TimeEstimate, write_history

pytestmark = pytest.mark.contract


def test_a_log_gets_a_plain_line_a_minute(monkeypatch, caplog, capsys):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    caplog.set_level("INFO")
    with EpochProgress(
        "train fold 0 epoch 2/3", steps=400, done=100, batch_size=8, quiet=False
    ) as shown:
        for _ in range(300):
            clock[0] += 0.5
            shown.step(lambda: 0.25)
    lines = caplog.text.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(
        "train fold 0 epoch 2/3: step 220 of 400, loss 0.2500, 16 crops/s, 2 min left"
    )
    assert capsys.readouterr().err == ""


def test_a_training_says_once_how_long_it_will_take(caplog):
    caplog.set_level("INFO")
    for quiet in (True, False):
        estimate = TimeEstimate(
            "train fold 0", steps=1000, epochs=10, validation_steps=20.0, quiet=quiet
        )
        for seconds in (90.0, *[0.5] * 60):
            estimate.step(seconds)
    (line,) = caplog.messages
    assert line == (
        "train fold 0: will take about 10 min: 1000 steps, 2.00 a second, and 10 validations"
    )


def test_the_history_says_where_the_seconds_went(tmp_path, images):
    run(tmp_path / "a", images)
    table = pd.read_csv(tmp_path / "a" / "history.csv")
    phases = ["data_wait_s", "step_s", "val_s", "save_s", "warmup_s"]
    assert set(phases) < set(table)
    assert (table.train_s - table.data_wait_s - table.step_s).abs().max() < 1e-6
    assert (table[["data_wait_s", "step_s", "val_s"]] > 0).all(axis=None)


def test_the_launcher_is_told_the_validation_of_the_epoch_before(tmp_path, images, monkeypatch):
    monkeypatch.setenv("PIPELINE_PROGRESS", str(tmp_path / "told.json"))
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    run(tmp_path / "a", images)
    table, told = pd.read_csv(tmp_path / "a" / "history.csv"), read_progress(tmp_path / "told.json")
    assert told["epoch"] == "3/3"
    shown = [told["val_loss"], told["val_dice"]]
    assert shown == pytest.approx(table.loc[1, ["val_loss", "val_dice"]].tolist())


def test_waits_between_steps_are_seconds_of_training(tmp_path, images, monkeypatch):
    def slow(function):
        def waiting(*arguments, **named):
            time.sleep(0.05)
            return function(*arguments, **named)

        return waiting

    monkeypatch.setattr(EpochProgress, "step", slow(EpochProgress.step))
    monkeypatch.setattr(Group, "any", slow(Group.any))
    run(tmp_path / "a", images, "train.epochs=1")
    table = pd.read_csv(tmp_path / "a" / "history.csv")
    assert table.step_s.sum() >= 2 * STEPS * 0.05


def test_the_history_is_written_as_epochs_end(tmp_path):
    job = job_in(tmp_path)
    row = {"epoch": 1.0, "loss": 0.5, "skipped_steps": 0.0}
    write_history(job, [row])
    assert (tmp_path / watch.HISTORY).read_text().splitlines() == [
        "epoch,loss,skipped_steps",
        "1,0.5,0",
    ]


def test_tensorboard_gets_scalars_and_overlays(tmp_path, images):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path / "a", images, "machine.tensorboard=true")
    events = accumulator.EventAccumulator(str(tmp_path / "a" / "tensorboard"))
    events.Reload()
    table = pd.read_csv(tmp_path / "a" / "history.csv")
    shown = [event.value for event in events.Scalars("val_dice")]
    assert shown == pytest.approx(table.val_dice.tolist())
    assert events.Tags()["images"] == [f"validation/{number}" for number in range(4)]


def test_tensorboard_that_is_not_installed_is_named(tmp_path, images, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tensorboard" else find_spec(name, *rest),
    )
    with pytest.raises(ConfigError, match=r"machine.tensorboard: true: .*\[tensorboard\]"):
        run(tmp_path / "a", images, "machine.tensorboard=true")
