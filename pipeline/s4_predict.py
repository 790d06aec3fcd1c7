"""Stage 4: probability maps of whole images, with test-time augmentation.

Reads `finetune/fold<k>/final.pt` of all folds. Writes `runs/<name>/predict/oof/fold<k>/`, the
training images of each fold by the network that never saw their scenes, and
`runs/<name>/predict/test/`, the test images by the mean over folds: index.csv and one 8-bit image
per map that rises above the floor. With `predict.look_again` a first pass decides where the others
look; second_look.json of each fold says how that was chosen. With `predict.ensemble` both are the
mean of other runs' maps. Several processes may share a part: each takes a shard. Data without test
images has no part `test`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.jobs.command import run_stages
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.run import Run

if TYPE_CHECKING:
    from pipeline.inference.regions import Look

TEST = "test"
MIN_PER_SHARD = 50
"""Images, times networks, below which a shard is not worth the time its process takes to start."""


def job(run: Run, part: Part) -> Job | None:
    """Return the prediction of a fold's images, or of the test images if there are any."""
    if part.name == TEST and not run.result("data").manifest["metrics"]["test_images"]:
        return None
    return _job(run, part)


def _job(run: Run, part: Part) -> Job:
    stage, fold = ("predict/test", None) if part.name == TEST else ("predict/oof", part.fold)
    if run.config.predict.ensemble is not None:
        from pipeline.inference.ensemble import ensemble_job

        return ensemble_job(run, run.config.predict.ensemble, stage, fold)
    sections = ("targets", "network", "image_head", "predict")
    return run.job(stage, fold=fold, sections=sections, inputs=networks(run, part))


def networks(run: Run, part: Part) -> list[Job]:
    """Return where the part's networks come from: one that never saw the fold, or all."""
    return [run.result("finetune", fold=fold) for fold in _folds(run, part)]


def _folds(run: Run, part: Part) -> Sequence[int]:
    """Return the folds whose networks see the part's images."""
    return range(run.config.folds.count) if part.name == TEST else [part.fold]


def images(run: Run, part: Part) -> dict[str, Path]:
    """Return the images of the whole part."""
    catalog = Catalog.of(run)
    if part.name == TEST:
        return {name: catalog.test_path(name) for name in catalog.usable_test_ids}
    folds = read_folds(run.result("split").checked("folds.csv"))
    return {name: catalog.train_path(name) for name in folds.ImageId[folds.fold == part.fold]}


def shards(run: Run, part: Part, places: int) -> int:
    """Return how many shards the part is worth where so many processes have a place."""
    if run.config.predict.ensemble is not None:
        return 1
    if part.name != TEST and places <= run.config.folds.count:
        return 1  # the folds fill the places already
    passes = len(images(run, part)) * len(networks(run, part))
    return max(min(places, passes // MIN_PER_SHARD), 1)


def work(run: Run, job: Job, part: Part) -> None:
    """Predict the part's images; a whole part takes over what its shards did."""
    if run.config.predict.ensemble is not None:
        from pipeline.inference.ensemble import predict_ensemble

        predict_ensemble(run, run.config.predict.ensemble, job, part, list(images(run, part)))
        return
    from pipeline.inference.predict import predict
    from pipeline.inference.second_look import FILE, looks_again

    catalog = Catalog.of(run)
    predict(
        run.config,
        job,
        part,
        images(run, part),
        networks(run, part),
        sizes=catalog.test_sizes if part.name == TEST else catalog.sizes,
        look=_look(run, part) if looks_again(run) else None,
        also=[FILE] if looks_again(run) and part.name != TEST else [],
    )


def _look(run: Run, part: Part) -> "Look | None":
    """Return where all passes over the part's images are computed, None for everywhere."""
    from pipeline.inference.second_look import look_of_fold, most_careful

    wholes = [Part(str(fold)) for fold in _folds(run, part)]
    return most_careful(
        look_of_fold(run, _job(run, whole), partial(images, run, whole), networks(run, whole)[0])
        for whole in wholes
    )


stage = PartStage(job, work, also=(TEST,), shards=shards, preload=("pipeline.inference.predict",))

if __name__ == "__main__":
    run_stages("s4_predict")
