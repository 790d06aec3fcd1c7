"""A run that a command is asked for, by its name or by the path of its folder."""

from pathlib import Path

from pipeline.config.load import load_stored_config
from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError
from pipeline.jobs.run import CONFIG, Run

RUNS = Path("runs")


def run_folder(run: str) -> Path:
    """Return the folder of a run, `demo` or `runs/demo`.

    Raises:
        ConfigError: There is none.
    """
    given = of_caller(Path(run))
    for folder in (RUNS / run, given):
        if (folder / CONFIG).is_file():
            return folder
    known = sorted(path.parent.name for path in RUNS.glob(f"*/{CONFIG}"))
    raise ConfigError(
        f"{run}: expected the name or the folder of a run, found no {RUNS / run / CONFIG} and no "
        f"{given / CONFIG}. Runs here: {', '.join(known) or 'none; ./run.sh makes one'}."
    )


def open_run(run: str) -> Run:
    """Return a run as it was configured.

    Raises:
        ConfigError: There is none, or it is not one of this folder's.
    """
    folder = run_folder(run).absolute()  # it may be a link, but `runs` holds that
    if folder.parent.resolve() != RUNS.resolve():
        raise ConfigError(
            f"{run}: expected a run in {RUNS.resolve()}, got {folder}. Call the command from the "
            "folder that holds its `runs` and its `data`."
        )
    return Run(load_stored_config(folder / CONFIG), restart=False)
