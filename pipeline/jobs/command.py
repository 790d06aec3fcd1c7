"""The command line that all stages share, and how a stage ends.

A stage file ends in `run_stages` with its own name; run.sh calls it with those of several, by
`python -m pipeline.jobs`. Flags are few and the same everywhere, a knob is a configuration field.
EXIT_CODES says how it ends; where it did not get to the end, it has said how to resume.
"""

import argparse
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.config.load import load_config
from pipeline.config.schema import Config
from pipeline.errors import PipelineError, Stopped, explain
from pipeline.jobs.launch import launch
from pipeline.jobs.local import ThisMachine, at_once
from pipeline.jobs.lock import seen_by_other_machines
from pipeline.jobs.parts import Part, PartStage, read_parts
from pipeline.jobs.progress import is_launched
from pipeline.jobs.queue import as_tasks, plan
from pipeline.jobs.ray_cluster import Cluster
from pipeline.jobs.run import Run
from pipeline.jobs.tasks import Terminated, end_with_parent, terminate

LOG = logging.getLogger("pipeline")


PARTS_FLAGS: Mapping[str, dict[str, Any]] = {
    "folds": {"default": "all", "help": "such as 0,2; default: all"},
    "jobs": {"default": "1", "help": "tasks at once: a number, or auto; default: 1"},
    "engine": {
        "default": "local",
        "choices": ("local", "ray"),
        "help": "where tasks run: on this machine, or on a Ray cluster; default: local",
    },
}


def run_stages(*names: str) -> None:
    """Do stages in turn on the run that the command line names; exit the process if one fails.

    A stage's module has a `stage`: a `PartStage`, or a function that does its work on a `Run` and
    takes the values of the module's `FLAGS`, if it has any, by name. `PartStage`s that follow each
    other are done as one queue.

    Args:
        names: Of the stages' modules.
    """
    end_with_parent()
    modules = {name: import_module(f"pipeline.{name}") for name in names}
    own_flags = {
        name: PARTS_FLAGS if isinstance(module.stage, PartStage) else getattr(module, "FLAGS", {})
        for name, module in modules.items()
    }
    flags = {name: settings for own in own_flags.values() for name, settings in own.items()}
    arguments = _parse(modules[names[0]].__doc__ if len(names) == 1 else None, flags)
    with exit_codes():
        config = load_config(arguments.config, arguments.overrides)
        # What is wrong is refused before any stage begins, even where nothing is left to do.
        parts = {
            name: (module.stage, _read_parts(config, module.stage, arguments))
            for name, module in modules.items()
            if isinstance(module.stage, PartStage)
        }
        _begin_log(Path("runs") / config.name)
        for is_queue, group in groupby(names, key=lambda name: name in parts or name):
            with _opened(config, restart=arguments.restart) as run:
                if is_queue is True:
                    _do_parts(run, {name: parts[name] for name in group}, arguments)
                else:
                    (name,) = group
                    given = {flag: getattr(arguments, flag) for flag in own_flags[name]}
                    modules[name].stage(run, **given)


def _read_parts(config: Config, stage: PartStage, arguments: argparse.Namespace) -> list[Part]:
    at_once(arguments.jobs)
    known = [*map(str, range(config.folds.count)), *stage.also]
    return read_parts(arguments.folds, known, shards=stage.shards is not None)


def _do_parts(
    run: Run, stages: Mapping[str, tuple[PartStage, list[Part]]], arguments: argparse.Namespace
) -> None:
    """Do parts of stages, in this process or, where several can run at a time, in others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        for stage, parts in stages.values():
            _work_together(run, stage, parts)
        return
    steps = plan(run, stages)
    if not steps:
        return
    if not is_launched():  # else the launcher has
        for step in steps:
            run.claim(step.planned, shared=step.part.shards > 1)
        if arguments.engine == "local":
            for check in dict.fromkeys(step.stage.check for step in steps):
                check(run)
    engine = _engine(arguments, run.config.machine.device)
    given = ("--config", str(arguments.config), *arguments.overrides)
    tasks, side_by_side = as_tasks(run, steps, engine, given)
    run.planned.clear()  # they are finished where they are read from now on
    if side_by_side or arguments.engine == "ray":
        for step in steps:
            run.start_over(step.planned)
        code = launch([*tasks], engine, has_work=lambda task: run.has_work(tasks[task].job(run)))
        if code != 0:
            sys.exit(code)
        return
    for step in steps:
        job = step.job(run)
        if run.begin(job, part=step.part):
            step.stage.work(run, job, step.part)


def _engine(arguments: argparse.Namespace, device: str) -> ThisMachine | Cluster:
    if arguments.engine == "ray":
        return Cluster(arguments.jobs, device=device)
    return ThisMachine(arguments.jobs, use_gpus=device != "cpu")


def _work_together(run: Run, stage: PartStage, parts: list[Part]) -> None:
    """Do the parts as one of the processes that torchrun has started."""
    from pipeline.compute.group import Group

    with Group.joined(run.config.machine) as group, exit_codes():
        if not group.leads:
            LOG.setLevel(logging.WARNING)
        jobs = {part: own for part in parts if (own := stage.job(run, part)) is not None}
        for part, own in jobs.items():
            if group.leads and not is_launched():
                run.claim(own, shared=part.shards > 1)
        for part, own in jobs.items():
            if not group.decided(partial(run.begin, own)):
                continue
            if stage.shards is not None:
                stage.work(run, own, part.cut(group.size)[group.rank])
                group.any(flag=False)  # all wait here
            if stage.shards is None or group.leads:
                stage.work(run, own, part)


EXIT_CODES = """exit codes:
  0    done
  2    an error that says what to do
  75   asked to stop (SIGTERM; Ctrl-C in training) and saved: the same command resumes it
  130  Ctrl-C elsewhere: likewise
"""


@contextmanager
def exit_codes(*, resumes: bool = True) -> Iterator[None]:
    """Exit as EXIT_CODES says, without a traceback for what is no fault of the program.

    Args:
        resumes: Whether the same command goes on where it was stopped; else it begins anew.
    """
    # run.sh starts stages in the background, where the shell turns Ctrl-C off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except PipelineError as error:
        LOG.error("%s", error)
        sys.exit(2)
    except Stopped as stopped:
        LOG.warning("%s", stopped)
        sys.exit(stopped.code)
    except KeyboardInterrupt as asked:
        terminated = isinstance(asked, Terminated)
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
    """Open the run; a restart of which nothing came changes nothing."""
    run = Run(config, restart=restart)
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


def _begin_log(folder: Path) -> None:
    """Send the log to the terminal, and with the time to the run's own file."""
    on_screen = logging.StreamHandler()
    on_screen.setLevel(logging.INFO)
    on_screen.setFormatter(logging.Formatter("%(message)s"))
    handlers = [on_screen, _RunLog(folder / "run.log")]
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    # Libraries speak up only when something is wrong.
    logging.getLogger().setLevel(logging.WARNING)
    LOG.setLevel(logging.DEBUG)
    if not seen_by_other_machines(folder):
        LOG.warning(
            "%s: locks hold on this machine alone, say the mount options: start a run on no other "
            "machine at the same time, or mount the folder with locks.",
            folder.resolve(),
        )
