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

    def run(*arguments, python=f'exec {sys.executable} "$@"', cwd=None):
        wrapper = tmp_path / "python"
        wrapper.write_text(f"#!/bin/sh\n{python}\n")
        wrapper.chmod(0o755)
        environment = os.environ | {"NO_VENV": "1", "PYTHON": str(wrapper)}
        command = [ROOT / "run.sh", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
        )
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


def test_relative_paths_are_those_of_the_folder_it_is_called_from(run_sh, tmp_path):
    demo = ROOT / "configs" / "demo.yaml"
    (tmp_path / "own.yaml").write_text(f"base: {demo}\ndata: {{max_bad_share: 2}}\n")
    for arguments, told in (
        (["own.yaml", "seed=1"], f"{tmp_path}/own.yaml:2: data.max_bad_share: expected"),
        (["configs/none.yaml"], f"{tmp_path}/configs/none.yaml: no such configuration file"),
        (["network.weights=w.pt"], f"network.weights: no such file: '{tmp_path}/w.pt'"),
        (["network.weights=~no-such/w.pt"], "command line: network.weights: ~no-such/w.pt: "),
        (["seed=-1"], "command line: seed: expected"),
        (["compare", "runs/a", "runs/b"], f"no {tmp_path}/runs/a/config.yaml"),
        (["find_overlaps", "tiles", "out"], f"{tmp_path}/tiles: expected a folder with images"),
    ):
        code, output = run_sh(*arguments, cwd=tmp_path)
        assert (code, told in output) == (2, True), output


def test_paths_are_shown_as_typed_in_the_projects_folder(run_sh):
    code, output = run_sh("network.weights=none/w.pt", cwd=ROOT)
    assert (code, "network.weights: no such file: 'none/w.pt'" in output) == (2, True), output
