"""Stage 3: each fold's EMA weights, fine-tuned on the Lovász hinge.

Reads `train/fold<k>/final.pt`, the checked data and the folds. Writes
`runs/<name>/finetune/fold<k>/` with the same files as stage 2, by the same loop.
"""

import logging

from pipeline.command import run_stage
from pipeline.data.hardness import hard_maps
from pipeline.run import Run

LOG = logging.getLogger("pipeline.s3_finetune")


def stage(run: Run, folds: list[str]) -> None:
    """Fine-tune each of `folds` from the end of its training."""
    if run.config.predict.ensemble is not None:
        LOG.info("%s: nothing to do, for this run averages the maps of other runs", "finetune")
        return
    hard = hard_maps(run)
    for fold in map(int, folds):
        trained = run.result("train", fold=fold)
        job = run.job(
            "finetune",
            fold=fold,
            sections=("targets", "network", "image_head", "crops", "augment", "finetune"),
            inputs=[run.result("split"), trained],
            files={str(maps.folder): maps.identity for maps in hard},
        )
        if run.begin(job):
            from pipeline.training.fold import train_fold

            train_fold(run, job, fold, run.config.finetune, start=trained.checked("final.pt"))


if __name__ == "__main__":
    run_stage(stage, description=__doc__, per_fold=True)
