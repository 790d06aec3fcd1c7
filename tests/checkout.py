"""A checkout of its own for tests that run the real run.sh."""

import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked

ROOT = Path(__file__).parents[1]


class Checkout:
    """A copy of the project in which run.sh leaves its data, runs and submissions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        skipped = shutil.ignore_patterns("__pycache__", "bench", "stored_runs", ".*")
        for part in ("pipeline", "configs", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=skipped)
        for part in ("run.sh", "pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, folder / part)
        self.environment = os.environ | {"NO_VENV": "1", "PYTHON": sys.executable}

    def start(
        self, *arguments: str, program: str = "./run.sh", cores: int | None = None
    ) -> subprocess.Popen[str]:
        """Start run.sh, or another program, in a process group of its own, on so many cores."""
        used = sorted(os.sched_getaffinity(0))[:cores]

        def prepare() -> None:
            # A test run in the background ignores Ctrl-C, and so would all it starts.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.sched_setaffinity(0, used)

        return subprocess.Popen(
            [program, *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509
        )

    def run(
        self,
        *arguments: str,
        code: int = 0,
        program: str = "./run.sh",
        cores: int | None = None,
    ) -> str:
        """Run run.sh, or another program, to its end and return what it printed."""
        process = self.start(*arguments, program=program, cores=cores)
        output = process.communicate(timeout=280)[0]
        assert process.returncode == code, output
        return output

    def start_module(self, *arguments: str) -> tuple[BaseProcess, Path]:
        """Start `python -m` from a warm server; return the process and what it prints to."""
        log = self.folder / "module.log"
        return forked.start(self.folder, self.environment, log, *arguments), log

    def run_module(self, *arguments: str, code: int = 0) -> str:
        """Run `python -m` to its end and return what it printed."""
        process, log = self.start_module(*arguments)
        process.join(280)
        assert process.exitcode == code, log.read_text()
        return log.read_text()

    def run_in_one_process(self, *arguments: str) -> str:
        """Run all stages of a configuration but the report; return what they printed."""
        return self.run_module("tests.all_stages", *arguments)
