"""Stage 2: one network per fold, trained with BCE - ln Dice.

Reads the checked data and the folds. Writes `runs/<name>/train/fold<k>/`: final.pt (the EMA),
history.csv, last.pt (the state to go on from).
"""

import logging

from pipeline.command import run_parts
from pipeline.data.hardness import hard_maps
from pipeline.parts import Part, PartStage
from pipeline.run import Job, Run

LOG = logging.getLogger("pipeline.s2_train")


def job(run: Run, part: Part) -> Job | None:
    """Return the training of a fold, from the configured start weights."""
    if run.config.predict.ensemble is not None:
        LOG.info("train fold %s: nothing to do: this run averages the maps of other runs", part)
        return None
    return run.job(
        "train",
        fold=part.fold,
        sections=("targets", "network", "image_head", "crops", "augment", "train"),
        inputs=[run.result("split")],
        files={str(maps.folder): maps.identity for maps in hard_maps(run)},
    )


def work(run: Run, job: Job, part: Part) -> None:
    """Train on all folds but the part's."""
    from pipeline.training.fold import train_fold

    train_fold(run, job, part.fold, run.config.train, start=None)


stage = PartStage(job, work)

if __name__ == "__main__":
    run_parts(stage, description=__doc__)
