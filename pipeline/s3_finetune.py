"""Stage 3: each fold's EMA weights, fine-tuned on the Lovász hinge.

Reads `train/fold<k>/final.pt`, the checked data and the folds. Writes
`runs/<name>/finetune/fold<k>/` with the same files as stage 2, by the same loop.
"""

from pipeline.jobs.command import run_stages
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.run import Run
from pipeline.training.fold import IMPORTS, check_training, train_fold, training_job


def job(run: Run, part: Part) -> Job | None:
    """Return the fine-tuning of a fold, from the end of its training."""
    return training_job(run, "finetune", part.fold, after="train")


def work(run: Run, job: Job, part: Part) -> None:
    """Fine-tune on all folds but the part's."""
    start = run.result("train", fold=part.fold).checked("final.pt")
    train_fold(run, job, part.fold, run.config.finetune, start=start)


stage = PartStage(job, work, check=check_training, preload=IMPORTS)

if __name__ == "__main__":
    run_stages("s3_finetune")
