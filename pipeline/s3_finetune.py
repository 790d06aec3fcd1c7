"""Stage 3: each fold's EMA weights, fine-tuned on the Lovász hinge.

Reads `train/fold<k>/final.pt`, the checked data and the folds. Writes
`runs/<name>/finetune/fold<k>/` with the same files as stage 2, by the same loop.
"""

import logging

from pipeline.command import run_parts
from pipeline.data.hardness import hard_maps
from pipeline.parts import Part, PartStage
from pipeline.run import Job, Run

LOG = logging.getLogger("pipeline.s3_finetune")


def job(run: Run, part: Part) -> Job | None:
    """Return the fine-tuning of a fold, from the end of its training."""
    if run.config.predict.ensemble is not None:
        LOG.info("finetune fold %s: nothing to do: this run averages the maps of other runs", part)
        return None
    return run.job(
        "finetune",
        fold=part.fold,
        sections=("targets", "network", "image_head", "crops", "augment", "finetune"),
        inputs=[run.result("split"), run.result("train", fold=part.fold)],
        files={str(maps.folder): maps.identity for maps in hard_maps(run)},
    )


def work(run: Run, job: Job, part: Part) -> None:
    """Fine-tune on all folds but the part's."""
    from pipeline.training.fold import train_fold

    start = run.result("train", fold=part.fold).checked("final.pt")
    train_fold(run, job, part.fold, run.config.finetune, start=start)


stage = PartStage(job, work)

if __name__ == "__main__":
    run_parts(stage, description=__doc__)
