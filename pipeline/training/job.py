"""What the training of a fold depends on, in either stage; torch is not imported here."""

import logging

from pipeline.data.hard_examples import hard_maps
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run

__all__ = ["training_job"]

LOG = logging.getLogger(__name__)


def training_job(run: Run, stage: str, fold: int, *, after: str | None = None) -> Job | None:
    """Return the job of a fold in a stage that trains; None for a run that averages other runs.

    Args:
        run: For the configuration, the folds and the run of `crops.hard_run`.
        stage: Its name, which is also its section of the configuration.
        fold: Held out.
        after: The stage whose result for the fold it starts from, if any.

    Raises:
        ConfigError: There is no run called `crops.hard_run`.
        ArtifactError: The split, the stage before or that run's maps are not finished.
    """
    if run.config.predict.ensemble is not None:
        LOG.info("%s fold %d: nothing to do: this run averages the maps of other runs", stage, fold)
        return None
    before = [] if after is None else [run.result(after, fold=fold)]
    return run.job(
        stage,
        fold=fold,
        sections=("targets", "network", "image_head", "crops", "augment", stage),
        inputs=[run.result("split"), *before],
        files={str(maps.folder): maps for maps in hard_maps(run)},
    )
