"""Stage 6: the submission, and with --upload its way to Kaggle and its score back.

Reads the test maps and the calibrated rules. Writes `runs/<name>/submit/submission.csv`, checked
against the sample submission, its copy `submissions/<run>-<hash>.csv`, and a line in
`submissions/ledger.csv`. Prints the F2 of the test images where their truth is known. Where there
are no test images nothing is submitted. Without `--upload` nothing leaves the machine; `--check`
beside it only asks Kaggle whether a submission could be sent. `--scores` only asks for the scores
of what was sent before, and prints them beside the out-of-fold ones.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.schema import Config
from pipeline.data.catalog import Catalog, read_test_truth
from pipeline.data.files import has_layout, has_test, is_rendered
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import read_json, sha256_file, write_atomic
from pipeline.jobs.command import run_stages
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run

if TYPE_CHECKING:
    from pipeline.kaggle.ledger import LedgerRow

LOG = logging.getLogger("pipeline.s6_submit")
SUBMISSIONS = Path("submissions")
FLAGS = {
    "upload": {"metavar": "MESSAGE", "help": "send the submission to Kaggle, wait for its score"},
    "check": {
        "action": "store_true",
        "help": "with --upload: only ask Kaggle whether a submission could be sent",
    },
    "scores": {"action": "store_true", "help": "only refresh the scores of what was sent"},
}


def stage(run: Run, upload: str | None = None, check: bool = False, scores: bool = False) -> None:
    """Apply the rules to the test maps, check the table, keep it, and send it if told to."""
    if scores:
        _show_scores(run.config.slug)
        return
    if check or upload is not None:
        _refuse_upload(run.config)
    if upload is not None and any("\ud800" <= letter <= "\udfff" for letter in upload):
        raise ConfigError(f"--upload: expected text in UTF-8, got {upload!r}.")
    if check:
        from pipeline.kaggle.submit import check_upload

        check_upload(run.config.slug)
        return
    data, calibrated = run.result("data"), run.result("calibrate")
    if not data.manifest["metrics"]["test_images"]:
        job = run.job("submit", sections=(), inputs=[data, calibrated])
        if run.begin(job):
            job.finish([], {"images": 0})
        LOG.info("submit: nothing, as there are no test images")
        return
    job = run.job("submit", sections=(), inputs=[data, run.result("predict/test"), calibrated])
    if run.begin(job):
        job.finish(["submission.csv"], _write(run, job, Catalog.of(run)))
    kept = _keep(job.checked("submission.csv"), run.config.name)
    row = _enter_in_ledger(run, kept, calibrated)
    LOG.info("submit: %s", kept)
    if upload is not None:
        _upload(run.config.slug, kept, row, upload)


def _refuse_upload(config: Config) -> None:
    """Raise ConfigError where there is nothing that Kaggle could score."""
    folder, task = config.data_folder, config.task
    if is_rendered(config.data.root):
        raise ConfigError(
            "--upload: this run is on the rendered demo, whose images Kaggle does not know. Give "
            "the competition's files: data.root=/folder."
        )
    if has_layout(folder, task) and not has_test(folder, task):
        raise ConfigError(
            f"--upload: expected {' and '.join(task.test_layout)} in {folder}, got neither, so "
            "there is nothing to submit. Bring them, or leave --upload out."
        )


def _keep(submission: Path, run: str) -> Path:
    """Return the run's copy of its submission, made if it is missing.

    Raises:
        ArtifactError: There is another file in its place.
    """
    wanted = sha256_file(submission)
    kept = SUBMISSIONS / f"{run}-{wanted[:8]}.csv"
    if not kept.exists():
        write_atomic(kept, submission.read_bytes())
    found = sha256_file(kept) if kept.is_file() else "no file"
    if found != wanted:
        raise ArtifactError(
            f"{kept}: expected a copy of {submission} with SHA-256 {wanted[:12]}, found "
            f"{found[:12]}: it was changed since. Move it away and run the same command again, "
            "which makes it anew."
        )
    return kept


def _write(run: Run, job: Job, catalog: Catalog) -> dict[str, Any]:
    from pipeline.config.fields import CHANNELS
    from pipeline.inference.probmaps import MapReader
    from pipeline.metrics.matching import match_objects
    from pipeline.metrics.registry import find_metric
    from pipeline.metrics.summaries import headline, in_words, summarise
    from pipeline.selection.classes import read_classes
    from pipeline.selection.submission import submit_maps, write_submission
    from pipeline.selection.workers import worker_count

    sizes, task = catalog.test_mask_sizes, run.config.task
    truth = read_test_truth(run.config, catalog)  # before anything is written
    source = run.result("calibrate").checked("rules.json")
    rules = read_classes(read_json(source), task.classes, str(source))
    reader = MapReader(
        run.result("predict/test"),
        catalog.usable_test_ids,
        sizes,
        contact=CHANNELS[run.config.targets.kind] > 1,
        classes=len(task.classes),
    )
    usable = set(catalog.usable_test_ids)
    maps = (
        (image_id, reader.read_all(image_id) if image_id in usable else None)
        for image_id in catalog.test_ids
    )
    jobs = worker_count(len(catalog.test_ids))
    submission = submit_maps(maps, rules, catalog.test_ids, task, sizes, jobs=jobs)
    sample = catalog.root / task.sample
    write_submission(job.folder / "submission.csv", submission, sample, task, sizes)
    objects = submission.EncodedPixels != ""
    metrics: dict[str, Any] = {
        "images": len(catalog.test_ids),
        "ships": int(objects.sum()),
        "images_with_ships": int(submission.ImageId[objects].nunique()),
    }
    LOG.info("submit: %d test images, %d objects in %d of them", *metrics.values())
    if truth is not None:
        metric = find_metric(run.config.task.metric)
        scores = summarise(match_objects(truth, submission, sizes, metric))
        values = [scores[name] for name in headline(metric)]
        whole = f"test_{metric.key}"
        names = whole, f"{whole}_{metric.object_key}s", f"{whole}_empty", f"{whole}_all_empty"
        metrics |= dict(zip(names, values, strict=True))
        LOG.info("test images: %s", in_words(metric, *values))
    return metrics


def _enter_in_ledger(run: Run, kept: Path, calibrated: Job) -> "LedgerRow":
    """Return the file's row of the ledger, a new one if it has none."""
    from pipeline.kaggle.code_version import code_version
    from pipeline.kaggle.ledger import LEDGER, LedgerRow, enter, read_ledger

    known = next((row for row in read_ledger(LEDGER) if row.tag == kept.stem), None)
    if known is not None:
        return known
    row = LedgerRow(
        hash=sha256_file(kept),
        run=run.config.name,
        file=kept.name,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        oof_score=calibrated.manifest["metrics"][run.config.task.metric],
        competition=run.config.competition,
        message="",
        commit=code_version(),
        tag=kept.stem,
    )
    return enter(LEDGER, row)


def _upload(slug: str, submission: Path, row: "LedgerRow", message: str) -> None:
    """Send the submission under the row's tag, and keep in its row what Kaggle says."""
    from pipeline.kaggle.ledger import LEDGER
    from pipeline.kaggle.submit import upload_submission

    LOG.info("submit: uploading to %s", slug)
    sent = upload_submission(submission, slug=slug, message=message, row=row, ledger=LEDGER)
    LOG.info(
        "submission %s: public score %s, private score %s, out-of-fold score %.5f",
        *(sent.ref, sent.public_score, sent.private_score, row.oof_score),
    )


def _show_scores(slug: str) -> None:
    from pipeline.kaggle.ledger import LEDGER, refresh_ledger, scores_table
    from pipeline.kaggle.listing import fetch_scores

    LOG.info("%s", scores_table(refresh_ledger(LEDGER, fetch_scores(slug))))


if __name__ == "__main__":
    run_stages("s6_submit")
