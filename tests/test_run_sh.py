"""What run.sh says and starts, with an interpreter in the middle that tells what it is asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[1]
COMMANDS = [path.stem for path in (ROOT / "pipeline" / "commands").glob("[a-z]*.py")]


@pytest.fixture
def run_sh(tmp_path):
    """Return a function that runs run.sh with an interpreter given as a line of shell."""

    def run(*arguments, python=f'exec {sys.executable} "$@"'):
        wrapper = tmp_path / "python"
        wrapper.write_text(f"#!/bin/sh\n{python}\n")
        wrapper.chmod(0o755)
        environment = os.environ | {"NO_VENV": "1", "PYTHON": str(wrapper)}
        command = [ROOT / "run.sh", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_help_names_every_stage_and_command(run_sh):
    code, told = run_sh("--help")
    assert code == 0
    assert (
        "begin with this stage: data split train finetune predict calibrate submit report" in told
    )
    assert [name for name in COMMANDS if f"\n  {name} " not in told] == []


ECHO = f'case $1 in -m) echo "$@" ;; *) exec {sys.executable} "$@" ;; esac'


def test_named_tests_run_without_lint(run_sh):
    assert run_sh("test", "tests/x.py", "-k", "y", python=ECHO) == (
        0,
        "-m pytest tests/x.py -k y\n",
    )


def test_commands_get_their_arguments(run_sh):
    assert run_sh("compare", "runs/a", "runs/b", python=ECHO) == (
        0,
        "-m pipeline.commands.compare runs/a runs/b\n",
    )


def test_what_is_missing_is_named_with_its_pin(run_sh):
    code, told = run_sh("compare", python=f'exec {sys.executable} -I -S "$@"')
    assert code == 2
    assert "missing: albumentations==" in told
    assert "torch==" in told
    assert "installs what is pinned" in told
