"""The card's script runs without one, at its smallest size, and tells what went wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.gpu.__main__ import PARTS, _row, main
from tests.bench.gpu.part import Number

pytestmark = pytest.mark.contract

SCRIPT = Path(__file__).with_name("gpu.sh")


def fails():
    yield Number("before it failed", 1.0)
    raise ValueError("broken on purpose")


def overruns():
    yield Number("before its time was over", 1.0)
    time.sleep(100)


def lacks():
    import no_such_library  # noqa: F401

    yield Number("never", 1.0)


def holds():
    yield Number("after the others", 1.0)


def run(tmp_path, *options, **settings):
    """Run parts at the smallest size; return the exit code and what the file says of them."""
    out = tmp_path / "gpu.json"
    code = main(["--small", "--out", str(out), *options], **settings)
    return code, json.loads(out.read_text())


@pytest.mark.timeout(900)
def test_every_part_runs_without_a_card(tmp_path, capsys):
    code, report = run(
        tmp_path, "--commit", "abc", limit_s=200
    )  # beside other tests, on any machine
    table = capsys.readouterr().out
    states = {name: outcome["state"] for name, outcome in report["parts"].items()}
    assert code == 0, table
    assert states.pop("lightning") in {"done", "skipped"}
    assert set(states.values()) == {"done"}
    assert {"lightning", *states} == set(PARTS)
    assert report["machine"]["commit"] == "abc"
    for name in states:
        numbers = report["parts"][name]["numbers"]
        assert numbers
        assert all(f"| {name} | {number['what']} |" in table for number in numbers)


def test_what_fails_is_told_and_the_others_run(tmp_path, capsys):
    parts = {
        each.__name__: f"{__name__}:{each.__name__}" for each in (fails, overruns, lacks, holds)
    }
    code, report = run(tmp_path, parts=parts, limit_s=4)
    table = capsys.readouterr().out
    states = {name: outcome["state"] for name, outcome in report["parts"].items()}
    assert states == {"fails": "failed", "overruns": "overran", "lacks": "skipped", "holds": "done"}
    assert [len(outcome["numbers"]) for outcome in report["parts"].values()] == [1, 1, 0, 1]
    assert "ValueError: broken on purpose" in report["parts"]["fails"]["said"]
    assert "ValueError: broken on purpose" in table
    assert "no_such_library is not installed" in table
    assert code == 1


def test_parts_can_be_chosen(tmp_path):
    parts = dict.fromkeys(("first", "second", "third"), f"{__name__}:holds")
    code, report = run(tmp_path, "--only", "first,second", "--skip", "first", parts=parts)
    assert (code, list(report["parts"])) == (0, ["second"])


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (Number("speed", 0.9, at_least=0.9), "| >= 0.9 | reached |"),
        (Number("speed", 0.8, at_least=0.9), "| >= 0.9 | MISSED |"),
        (Number("idle", 0.2, at_most=0.1), "| <= 0.1 | MISSED |"),
        (Number("time", 0.2, "s"), "|  |  |"),
    ],
)
def test_goals_are_judged(number, end):
    assert _row("part", number, judged=True).endswith(end)


def test_the_script_passes_options_on():
    done = subprocess.run(
        [SCRIPT, "--small", "--only", "nothing"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "expected some of loop," in done.stderr
