"""The command line that all stages share, and how a stage ends.

A stage file ends in `run_stage(stage)`, or in `run_parts(stage)` where its work divides into folds:
flags are few and the same everywhere, a knob is a configuration field. EXIT_CODES says how it ends;
where it did not get to the end, it has said how to resume.
"""

import argparse
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.config.load import load_config
from pipeline.config.schema import Config
from pipeline.errors import PipelineError, Stopped, explain
from pipeline.jobs.job import Job
from pipeline.jobs.launch import launch
from pipeline.jobs.local import ThisMachine, at_once
from pipeline.jobs.lock import seen_by_other_machines
from pipeline.jobs.parts import Part, PartStage, read_parts
from pipeline.jobs.progress import is_launched
from pipeline.jobs.ray_cluster import Cluster
from pipeline.jobs.run import Run
from pipeline.jobs.tasks import Task, end_with_parent

LOG = logging.getLogger("pipeline")


def run_stage(
    stage: Callable[..., None],
    *,
    description: str | None,
    flags: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Parse the command line, open the run, call `stage`, and exit the process if it fails.

    Args:
        stage: The stage's work on a `Run`.
        description: What `--help` says.
        flags: The stage's own flags by name, each with argparse's settings; `stage` takes their
            values by name.
    """
    end_with_parent()
    flags = flags or {}
    arguments = _parse(description, flags)
    own = {name: getattr(arguments, name) for name in flags}
    with exit_codes():
        config = load_config(arguments.config, arguments.overrides)
        with _opened(config, restart=arguments.restart) as run:
            stage(run, **own)


PARTS_FLAGS: Mapping[str, dict[str, Any]] = {
    "folds": {"default": "all", "help": "such as 0,2; default: all"},
    "jobs": {"default": "1", "help": "tasks at once: a number, or auto; default: 1"},
    "engine": {
        "default": "local",
        "choices": ("local", "ray"),
        "help": "where tasks run: on this machine, or on a Ray cluster; default: local",
    },
}


def run_parts(stage: PartStage, *, description: str | None) -> None:
    """Do like `run_stage` for a stage whose work divides into parts, here or in other processes.

    Args:
        stage: The stage.
        description: What `--help` says.
    """
    end_with_parent()
    arguments = _parse(description, PARTS_FLAGS)
    with exit_codes():
        config = load_config(arguments.config, arguments.overrides)
        known = [*map(str, range(config.folds.count)), *stage.also]
        parts = read_parts(arguments.folds, known, shards=stage.shards is not None)
        at_once(arguments.jobs)  # a wrong number is refused even where nothing is left to do
        with _opened(config, restart=arguments.restart) as run:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                _work_together(run, stage, parts)
                return
            jobs = {part: own for part in parts if (own := stage.job(run, part)) is not None}
            todo = {part: own for part, own in jobs.items() if run.has_work(own)}
            _claim(run, todo)
            if todo:
                if arguments.engine == "local" and not is_launched():
                    stage.check(run)
                todo = _launched(arguments, run, stage, todo)
            for part, own in todo.items():
                if run.begin(own, part=part):
                    stage.work(run, own, part)


def _claim(run: Run, jobs: Mapping[Part, Job]) -> None:
    """Claim jobs until this process ends; for a task, its launcher has."""
    if not is_launched():
        for part, job in jobs.items():
            run.claim(job, shared=part.shards > 1)


def _work_together(run: Run, stage: PartStage, parts: list[Part]) -> None:
    """Do the parts as one of the processes that torchrun has started."""
    from pipeline.compute.group import Group

    with Group.joined(run.config.machine) as group, exit_codes():
        if not group.leads:
            LOG.setLevel(logging.WARNING)
        jobs = {part: own for part in parts if (own := stage.job(run, part)) is not None}
        if group.leads:
            _claim(run, jobs)
        for part, own in jobs.items():
            if not group.decided(partial(run.begin, own)):
                continue
            if stage.shards is not None:
                stage.work(run, own, part.cut(group.size)[group.rank])
                group.any(flag=False)  # all wait here
            if stage.shards is None or group.leads:
                stage.work(run, own, part)


def _launched(
    arguments: argparse.Namespace, run: Run, stage: PartStage, todo: dict[Part, Job]
) -> dict[Part, Job]:
    """Do the parts in other processes, if there is room for several; return what is left to do."""
    device, shards = run.config.machine.device, stage.shards
    processes = run.config.machine.processes_per_fold if shards is None else 1
    engine: ThisMachine | Cluster
    if arguments.engine == "ray":
        engine = Cluster(arguments.jobs, device=device, processes=processes)
    else:
        engine = ThisMachine(arguments.jobs, use_gpus=device != "cpu", processes=processes)
    cut = {part: part.cut(shards(run, part, engine.places)) if shards else [part] for part in todo}
    tasks = [
        _task(arguments, run, own, shard, processes)
        for part, own in todo.items()
        for shard in cut[part]
    ]
    if engine.share(len(tasks)) == 1 and arguments.engine == "local" and processes == 1:
        return todo
    for own in todo.values():
        run.start_over(own)
    code = launch(tasks, engine)
    if code != 0:
        sys.exit(code)
    # The whole part puts together what its shards did.
    return {part: own for part, own in todo.items() if len(cut[part]) > 1}


def _task(arguments: argparse.Namespace, run: Run, job: Job, part: Part, processes: int) -> Task:
    """Return the task that does `part` of `job` in a process of its own."""
    stage = job.stage.partition("/")[0]
    files = run.folder / "logs" / f"{stage}-{str(part).translate({58: '-', 47: 'of'})}"
    return Task(
        label=job.label if part.shards == 1 else f"{job.label} shard {part.shard}/{part.shards}",
        stage=stage,
        part=str(part),
        command=(
            f"pipeline.{Path(sys.argv[0]).stem}",
            *("--config", str(arguments.config), "--folds", str(part)),
            *arguments.overrides,
        ),
        log=files.with_suffix(".log"),
        progress=files.with_suffix(".json"),
        processes=processes,
    )


EXIT_CODES = """exit codes:
  0    done
  2    an error that says what to do
  75   asked to stop (SIGTERM; Ctrl-C in training) and saved: the same command resumes it
  130  Ctrl-C elsewhere: likewise
"""


class _Terminated(KeyboardInterrupt):
    """SIGTERM came. Like Ctrl-C no error, so that nobody takes it for a defect of a file."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


@contextmanager
def exit_codes(*, resumes: bool = True) -> Iterator[None]:
    """Exit as EXIT_CODES says, without a traceback for what is no fault of the program.

    Args:
        resumes: Whether the same command goes on where it was stopped; else it begins anew.
    """
    # run.sh starts stages in the background, where the shell turns Ctrl-C off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except PipelineError as error:
        LOG.error("%s", error)
        sys.exit(2)
    except Stopped as stopped:
        LOG.warning("%s", stopped)
        sys.exit(stopped.code)
    except KeyboardInterrupt as asked:
        terminated = isinstance(asked, _Terminated)
        LOG.warning(
            "%s. Run the same command again: it %s.",
            "stopped by SIGTERM" if terminated else "interrupted",
            "resumes from the last complete state" if resumes else "begins anew",
        )
        sys.exit(Stopped.code if terminated else 130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno is None:
            raise
        LOG.error("%s", explain(error))
        LOG.debug("where:", exc_info=error)
        sys.exit(2)


@contextmanager
def _opened(config: Config, *, restart: bool) -> Iterator[Run]:
    """Open the run and its log."""
    run = Run(config, restart=restart)
    _log_to(run.folder / "run.log")
    if not seen_by_other_machines(run.folder):
        LOG.warning(
            "%s: locks hold on this machine alone, say the mount options: start a run on no other "
            "machine at the same time, or mount the folder with locks.",
            run.folder.resolve(),
        )
    with logging_redirect_tqdm():
        try:
            yield run
        except BaseException:
            run.bring_back()
            raise


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose --help ends with the exit codes."""
    return argparse.ArgumentParser(
        description=description,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _parse(description: str | None, flags: Mapping[str, dict[str, Any]]) -> argparse.Namespace:
    parser = argument_parser(description)
    parser.add_argument(
        "--config", type=Path, default=Path("configs/demo.yaml"), help="default: %(default)s"
    )
    parser.add_argument("--restart", action="store_true", help="discard what this stage did before")
    for name, settings in flags.items():
        parser.add_argument(f"--{name}", **settings)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as seed=1")
    return parser.parse_intermixed_args()


class _RunLog(logging.handlers.MemoryHandler):
    """The run's own log, kept in memory until there is a run: what is refused leaves no folder."""

    def __init__(self, path: Path) -> None:
        file = logging.FileHandler(path, encoding="utf-8", delay=True)
        file.setFormatter(
            logging.Formatter(f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s")
        )
        super().__init__(sys.maxsize, target=file, flushOnClose=False)
        self._path = path

    def shouldFlush(self, record: logging.LogRecord) -> bool:  # noqa: ARG002, N802  as the base class
        # A run in a folder that cannot be written can still be looked at.
        place = self._path if self._path.exists() else self._path.parent
        return os.access(place, os.W_OK) and not self._path.is_dir()


def _log_to(path: Path) -> None:
    """Send the log to the terminal, and with the time to the run's own file."""
    on_screen = logging.StreamHandler()
    on_screen.setLevel(logging.INFO)
    on_screen.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[on_screen, _RunLog(path)], force=True)
    # Libraries speak up only when something is wrong.
    logging.getLogger().setLevel(logging.WARNING)
    LOG.setLevel(logging.DEBUG)
