"""What training or prediction would refuse, said before anything is downloaded or rendered."""

import importlib.util
from contextlib import suppress

from pipeline.config.code_file import CodeFile
from pipeline.config.fields import channels
from pipeline.config.load import load_stored_config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.job import MANIFEST
from pipeline.jobs.run import CONFIG, Run

_SECTIONS = "targets", "network", "image_head", "crops"
"""What `check_network` looks at."""


def check_before_work(run: Run) -> None:
    """Refuse a configuration that the stages after data and split could not use.

    A network is built for it, once: not again where the run has stored these settings, unless the
    network is of a file of one's own, and not where its first training is done.

    Raises:
        ConfigError: A file or a run that is named is missing, or TensorBoard is; or the network
            cannot be built, started or given crops.
        DataError: The file of start weights cannot be read.
    """
    config, ensemble = run.config, run.config.predict.ensemble
    for key, path in (
        ("folds.file", config.folds.file),
        ("data.test_truth", config.data.test_truth),
    ):
        if path is not None and not path.is_file():
            raise ConfigError(f"{key}: {path}: there is no such file. Correct it, or give null.")
    for folder in config.data.extra:
        if not folder.is_dir():
            raise ConfigError(f"data.extra: {folder}: there is no such folder. Correct it.")
    named = [] if ensemble is None else [("predict.ensemble.runs", each) for each in ensemble.runs]
    if ensemble is None and config.crops.hard_run is not None:
        named = [("crops.hard_run", config.crops.hard_run)]
    for key, name in named:
        with suppress(ArtifactError):  # whether its folds are these is known once there are some
            run.folder_of_other(name, key=key)
    trained = (run.folder / "train" / "fold0" / MANIFEST).is_file() and not run.restart
    if ensemble is not None or trained:
        return
    if config.machine.tensorboard:
        check_tensorboard()
    with suppress(ConfigError):  # nothing is stored, or it is damaged
        stored = load_stored_config(run.folder / CONFIG)
        same = all(getattr(stored, name) == getattr(config, name) for name in _SECTIONS)
        if same and CodeFile.named(config.network.arch) is None:
            return
    from pipeline.networks.check import check_network

    crop_px = None if config.crops.size_px == "auto" else config.crops.size_px
    outputs = channels(config.targets.kind, len(config.task.classes))
    tile_px, task = config.data.demo.tile_px, config.task
    drawn = task.stand_in.shape if task.render_demo is None else (tile_px, tile_px)
    images = [drawn] if config.data.root is None else []  # others are not looked at yet
    image_head = config.image_head.weight > 0
    check_network(config.network, outputs, crop_px, images, image_head=image_head)


def check_tensorboard() -> None:
    """Raise ConfigError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "machine.tensorboard: true: TensorBoard is not installed. Install it with "
            '`pip install --constraint requirements.lock ".[tensorboard]"`, or set it to false.'
        )
