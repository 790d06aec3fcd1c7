"""From files to a `Config`: one that a person wrote, or one that a run stored."""

from pathlib import Path
from typing import Any

import yaml

from pipeline import __version__
from pipeline.config.paths import of_caller
from pipeline.config.schema import MAX_RUN_NAME, Config
from pipeline.config.yaml_source import VERSION, read_stored, validate_source, validate_stored
from pipeline.config.yaml_text import FLOAT
from pipeline.errors import ConfigError

DEFAULT = Path("configs/demo.yaml")
"""The project's own, from wherever it is asked for."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that this project's reader, or YAML 1.1, would take for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def load_config(path: Path, overrides: list[str]) -> Config:
    """Read `path` with its bases, apply `key=value` overrides, check all of it.

    Relative paths in both are the caller's: see `pipeline.config.paths`.

    A command line that points to other data without naming the run gets a run of its own, named
    after the configuration and the data.

    Raises:
        ConfigError: with file, line, key, what was expected and the nearest known key.
    """
    config = validate_source(Config, path if path == DEFAULT else of_caller(path), overrides)
    given = {override.partition("=")[0] for override in overrides}
    if "data.root" in given and "name" not in given:
        name = f"{config.name}-{config.data_name}"
        if len(name) > MAX_RUN_NAME:
            raise ConfigError(
                f"command line: data.root: expected a run's name of at most {MAX_RUN_NAME} "
                f"letters, got {len(name)}, {name[:40]}... Give it another: name=short."
            )
        config = config.model_copy(update={"name": name})
    return config


def as_stored(config: Config) -> str:
    """Return the text of `config.yaml` in a run's folder, which `load_stored_config` reads."""
    return as_yaml({VERSION: __version__} | config.model_dump(mode="json"))


def as_yaml(values: dict[str, Any]) -> str:
    """Return the text of a configuration that holds plain values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def load_stored_config(path: Path) -> Config:
    """Read the configuration that a run stored, also in an earlier version of the pipeline.

    What did not exist then gets its neutral value, what was renamed its name of now. The run is
    called as its folder is.

    Raises:
        ConfigError: It is damaged, or a newer version wrote it with keys that this one lacks.
    """
    return validate_stored(Config, path).model_copy(update={"name": path.parent.name})


def stored_values(path: Path) -> dict[str, Any]:
    """Return what `load_stored_config` reads as plain values, whatever they are.

    Raises:
        ConfigError: The file is missing or not YAML.
    """
    return read_stored(Config, path)
