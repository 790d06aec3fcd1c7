"""Stage 6: the submission.

Reads the test maps and the calibrated rules. Writes `runs/<name>/submit/submission.csv`, checked
against the sample submission, its copy `submissions/<run>-<hash>.csv`, and a line in
`submissions/ledger.csv`. Prints the F2 of the test images where their truth is known.
"""

import logging
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.artifacts import read_json, sha256_file, write_atomic
from pipeline.command import run_stage
from pipeline.data.catalog import Catalog, read_test_truth
from pipeline.run import Job, Run

LOG = logging.getLogger("pipeline.s6_submit")
SUBMISSIONS = Path("submissions")


def stage(run: Run) -> None:
    """Apply the rules to the test maps, check the table, and keep it."""
    data, maps, calibrated = (run.result(name) for name in ("data", "predict/test", "calibrate"))
    job = run.job("submit", sections=(), inputs=[data, maps, calibrated])
    if run.begin(job):
        job.finish(["submission.csv"], _write(run, job, Catalog.load(data.folder)))
    submission = job.folder / "submission.csv"
    kept = SUBMISSIONS / f"{run.config.name}-{sha256_file(submission)[:8]}.csv"
    if not kept.is_file():
        write_atomic(kept, submission.read_bytes())
    _enter_in_ledger(run, kept, calibrated)
    LOG.info("submit: %s", kept)


def _write(run: Run, job: Job, catalog: Catalog) -> dict[str, Any]:
    from pipeline.inference.probmaps import MapReader
    from pipeline.ships.instances import write_instances
    from pipeline.ships.metric import score_images
    from pipeline.ships.rules import Rules, find_ships
    from pipeline.ships.submission import build_submission, check_submission

    shape = catalog.height, catalog.width
    source = run.result("calibrate").checked("rules.json")
    rules = Rules.from_json(read_json(source)["rules"], str(source))
    reader = MapReader(run.result("predict/test"), catalog.usable_test_ids, *shape)
    usable = set(catalog.usable_test_ids)
    submission = build_submission(
        (image_id, find_ships(reader.read(image_id), rules) if image_id in usable else None)
        for image_id in catalog.test_ids
    )
    check_submission(submission, catalog.test_ids, *shape)
    write_instances(job.folder / "submission.csv", submission)
    ships = submission.EncodedPixels != ""
    metrics: dict[str, Any] = {
        "images": len(catalog.test_ids),
        "ships": int(ships.sum()),
        "images_with_ships": int(submission.ImageId[ships].nunique()),
    }
    LOG.info("submit: %d test images, %d ships in %d of them", *metrics.values())
    truth = read_test_truth(run.config.data)
    if truth is not None:
        scores = score_images(truth, submission, *shape)
        with_ships = scores.n_true > 0
        metrics |= {
            "test_f2": float(scores.f2.mean()),
            "test_f2_ships": float(scores.f2[with_ships].mean()),
            "test_f2_empty": float(scores.f2[~with_ships].mean()),
            "test_f2_all_empty": float((~with_ships).mean()),
        }
        LOG.info(
            "test images: F2 %.4f (ship images %.4f, empty images %.4f; the all-empty answer %.4f)",
            *list(metrics.values())[3:],
        )
    return metrics


def _enter_in_ledger(run: Run, kept: Path, calibrated: Job) -> None:
    from pipeline.kaggle.ledger import LedgerRow, append_or_update, read_ledger

    ledger = SUBMISSIONS / "ledger.csv"
    if any(row.tag == kept.stem for row in read_ledger(ledger)):
        return
    row = LedgerRow(
        hash=sha256_file(kept),
        run=run.config.name,
        file=kept.name,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        oof_f2=calibrated.manifest["metrics"]["f2"],
        message="",
        commit=_commit(),
        tag=kept.stem,
    )
    append_or_update(ledger, row)


def _commit() -> str:
    """Return the code's commit, or "" outside a git checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    run_stage(stage, description=__doc__)
