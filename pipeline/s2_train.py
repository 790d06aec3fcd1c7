"""Stage 2: one network per fold, trained with BCE - ln Dice.

Reads the checked data and the folds. Writes `runs/<name>/train/fold<k>/`: final.pt (the EMA),
history.csv, last.pt (the state to go on from).
"""

import logging

from pipeline.command import run_stage
from pipeline.data.hardness import hard_maps
from pipeline.run import Run

LOG = logging.getLogger("pipeline.s2_train")


def stage(run: Run, folds: list[str]) -> None:
    """Train each of `folds` from the configured start weights."""
    if run.config.predict.ensemble is not None:
        LOG.info("%s: nothing to do, for this run averages the maps of other runs", "train")
        return
    hard = hard_maps(run)
    for fold in map(int, folds):
        job = run.job(
            "train",
            fold=fold,
            sections=("targets", "network", "image_head", "crops", "augment", "train"),
            inputs=[run.result("split")],
            files={str(maps.folder): maps.identity for maps in hard},
        )
        if run.begin(job):
            from pipeline.training.fold import train_fold

            train_fold(run, job, fold, run.config.train, start=None)


if __name__ == "__main__":
    run_stage(stage, description=__doc__, per_fold=True)
