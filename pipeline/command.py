"""The command line that all stages share, and how a stage ends.

A stage file ends in `run_stage(stage)`: flags are few and the same everywhere, a knob is a
configuration field. Errors a user can act on end with code 2 and without a traceback; training that
was asked to stop (SIGTERM, Ctrl-C) and saved its state, with 75; Ctrl-C elsewhere, with 130. All
say how to go on.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.config import Config, load_config
from pipeline.errors import ConfigError, PipelineError, Stopped
from pipeline.launch import Slots, launch
from pipeline.run import Run

__all__ = ["exit_codes", "run_stage"]

LOG = logging.getLogger("pipeline")
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again


def run_stage(
    stage: Callable[..., None],
    *,
    description: str | None,
    per_fold: bool = False,
    also: tuple[str, ...] = (),
    flags: Mapping[str, dict[str, Any]] | None = None,
    restartable: bool = True,
) -> None:
    """Parse the command line, open the run, call `stage`, and exit the process if it fails.

    Args:
        stage: The stage's work on a `Run`; with `per_fold` it also takes a list of parts to work
            on, each a fold's number as text or one of `also`.
        description: What `--help` says.
        per_fold: Whether the stage's work divides by fold: it then has `--folds` and `--jobs`.
        also: Parts of the stage beside the folds.
        flags: The stage's own flags by name, each with argparse's settings; `stage` takes their
            values by name.
        restartable: Whether the stage keeps what it did before, and so has `--restart`.
    """
    flags = flags or {}
    arguments = _parse(description, per_fold=per_fold, flags=flags, restartable=restartable)
    own = {name: getattr(arguments, name) for name in flags}
    with exit_codes():
        config = load_config(arguments.config, arguments.overrides)
        if not per_fold:
            _run(partial(stage, **own), config, restart=restartable and arguments.restart)
            return
        parts = _parts(arguments.folds, config.folds.count, also)
        use_gpus = config.machine.device != "cpu"
        slots = Slots.of_this_machine(arguments.jobs, len(parts), use_gpus=use_gpus)
        if len(slots.environments) == 1:
            _run(stage, config, parts, restart=arguments.restart)
            return
        module = sys.modules["__main__"].__spec__
        command = [sys.executable, "-m", module.name if module else sys.argv[0]]
        command += ["--config", str(arguments.config), *arguments.overrides]
        sys.exit(launch([*command, *["--restart"] * arguments.restart], parts, slots))


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit with code 2 after an error that the user can act on, with 75 or 130 when stopped."""
    try:
        yield
    except PipelineError as error:
        LOG.error("%s", error)
        sys.exit(2)
    except Stopped as stopped:
        LOG.warning("%s Run the same command again: it goes on from there.", stopped)
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        LOG.error("interrupted. Run the same command again: it goes on from the last whole state.")
        sys.exit(130)


def _run(stage: Callable[..., None], config: Config, *parts: list[str], restart: bool) -> None:
    run = Run(config, restart=restart)
    _log_to(run.folder / "run.log")
    with logging_redirect_tqdm():
        stage(run, *parts)


def _parse(
    description: str | None,
    *,
    per_fold: bool,
    flags: Mapping[str, dict[str, Any]],
    restartable: bool,
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", type=Path, default=Path("configs/demo.yaml"), help="default: %(default)s"
    )
    if restartable:
        parser.add_argument(
            "--restart", action="store_true", help="discard what this stage did before"
        )
    if per_fold:
        parser.add_argument("--folds", default="all", help="such as 0,2; default: all")
        parser.add_argument(
            "--jobs", default="1", help="processes at once: a number, or auto; default: 1"
        )
    for name, settings in flags.items():
        parser.add_argument(f"--{name}", **settings)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as seed=1")
    return parser.parse_intermixed_args()


def _parts(text: str, count: int, also: tuple[str, ...]) -> list[str]:
    """Read `--folds`.

    Raises:
        ConfigError: Not different folds of this configuration.
    """
    known = [*map(str, range(count)), *also]
    parts = known if text == "all" else text.split(",")
    if not set(parts) <= set(known) or len(set(parts)) < len(parts):
        raise ConfigError(
            f"--folds {text}: expected different ones of {', '.join(known)} (folds.count is "
            f"{count}), separated by commas."
        )
    return parts


def _log_to(path: Path) -> None:
    """Send the log to the terminal, and with the time to the run's own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    on_screen = logging.StreamHandler()
    on_screen.setFormatter(logging.Formatter("%(message)s"))
    in_file = logging.FileHandler(path, encoding="utf-8")
    in_file.setFormatter(
        logging.Formatter(f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[on_screen, in_file], force=True)
    # Libraries speak up only when something is wrong.
    logging.getLogger().setLevel(logging.WARNING)
    LOG.setLevel(logging.INFO)
