"""What a loop tells the launcher: seldom, whole, and only where somebody listens."""

import pytest

from pipeline.jobs import progress
from pipeline.jobs.progress import PROGRESS, Progress, read_progress

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_rate_and_the_time_left_are_of_what_is_done_now(tmp_path, monkeypatch, clock):
    path = tmp_path / "train-0.json"
    monkeypatch.setenv(PROGRESS, str(path))
    told = Progress(1000, done=400)
    told.update(8)
    assert read_progress(path) == {}, "not within the first second"
    clock[0] += 4
    told.update(192, lambda: {"epoch": "3/7", "loss": 0.5})
    expected = {"images_per_s": 50.0, "left_s": 8.0, "epoch": "3/7", "loss": 0.5}
    assert read_progress(path) == expected
    told.update(100, lambda: pytest.fail("asked for figures that nobody sees"))
    assert read_progress(path) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_listener_nothing_is_asked_or_written(tmp_path, monkeypatch, clock):
    monkeypatch.delenv(PROGRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    told = Progress(10)
    clock[0] += 60
    told.update(1, lambda: pytest.fail("asked for figures that nobody sees"))
    assert list(tmp_path.iterdir()) == []
