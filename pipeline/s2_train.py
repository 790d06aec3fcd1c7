"""Stage 2: one network per fold, trained with BCE - ln Dice.

Reads the checked data and the folds. Writes `runs/<name>/train/fold<k>/`: final.pt (the EMA),
history.csv, last.pt (the state to resume from).
"""

from pipeline.jobs.command import run_stages
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.run import Run
from pipeline.training.fold import IMPORTS, check_training, train_fold, training_job


def job(run: Run, part: Part) -> Job | None:
    """Return the training of a fold, from the configured start weights."""
    return training_job(run, "train", part.fold)


def work(run: Run, job: Job, part: Part) -> None:
    """Train on all folds but the part's."""
    train_fold(run, job, part.fold, run.config.train, start=None)


stage = PartStage(job, work, check=check_training, preload=IMPORTS)

if __name__ == "__main__":
    run_stages("s2_train")
