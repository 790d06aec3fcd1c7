"""A submission up, its score back, and never a submission twice.

Every description starts with a tag of its own. Before a file is sent, and whenever the reply to a
submission is lost, the tag is looked for among the account's submissions: if it is there, that
is the submission.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ArtifactError
from pipeline.kaggle.client import PATIENCE, KaggleClient, Patience
from pipeline.kaggle.failures import Failure, KaggleError

LOG = logging.getLogger(__name__)
PAGES = 100


@dataclass(frozen=True)
class SubmissionRef:
    """A submission as Kaggle lists it.

    Attributes:
        ref: Kaggle's number.
        description: The tag in brackets, then the message.
        status: `PENDING`, `COMPLETE` or `ERROR`.
        public_score: None while pending, and where Kaggle does not show it.
        private_score: The same; shown once the competition has ended.
        error: Kaggle's reason for `ERROR`; often empty.
    """

    ref: int
    description: str
    status: str
    public_score: float | None
    private_score: float | None
    error: str


def describe(tag: str, message: str) -> str:
    """Return the description of a submission: one line, the tag first, lest it be cut off."""
    return f"[{tag}] {' '.join(message.split())}".strip()


def upload_submission(
    path: Path,
    *,
    slug: str,
    message: str,
    tag: str,
    record: Callable[[SubmissionRef], None],
    patience: Patience = PATIENCE,
) -> SubmissionRef:
    """Submit a file, unless a submission with this tag exists, and wait for its score.

    Args:
        path: The validated submission.
        slug: The competition, as in its address.
        message: What the user wants to remember of it.
        tag: Unique to this file and run.
        record: Called as soon as the submission exists, and again when its score is there, so
            that the ledger knows of it whatever happens in between.
        patience: Deadlines and number of attempts.

    Returns:
        The submission; `PENDING` if its score took longer than `patience.score_s`.

    Raises:
        ArtifactError: There is no such file, or it is empty.
        KaggleError: Kaggle refused the file, failed, stayed silent, or could not score it.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ArtifactError(f"{path}: expected a submission file, found none. Run s6_submit first.")
    with KaggleClient(slug, patience) as kaggle:
        submission = _find(kaggle, tag)
        if submission:
            LOG.info("submission %d carries the tag [%s]: not sent again", submission.ref, tag)
        else:
            _check_limit(kaggle)
            submission = _submit(kaggle, path, tag, describe(tag, message))
        record(submission)
        submission = _wait(kaggle, submission)
    record(submission)
    if submission.status == "ERROR":
        raise KaggleError(
            f"submission {submission.ref}: Kaggle could not score it: "
            f"{submission.error or 'it gives no reason'}. Compare {path} with the sample "
            "submission (columns, every ImageId, no pixel twice), and look at "
            f"https://www.kaggle.com/competitions/{slug}/submissions."
        )
    if submission.status == "PENDING":
        LOG.warning(
            "submission %d has no score after %g s; look later with "
            "`python -m pipeline.s6_submit --scores`",
            submission.ref,
            patience.score_s,
        )
    return submission


def fetch_scores(slug: str, *, patience: Patience = PATIENCE) -> list[SubmissionRef]:
    """Return all of the account's submissions to a competition, newest first.

    Raises:
        KaggleError: Kaggle refused, failed or stayed silent.
    """
    with KaggleClient(slug, patience) as kaggle:
        return list(_listed(kaggle))


def _listed(kaggle: KaggleClient) -> Iterator[SubmissionRef]:
    """Yield the submissions, newest first, page by page as far as they are asked for."""
    seen: set[int] = set()
    for page in range(1, PAGES + 1):
        rows = kaggle.call("submissions", "listing the submissions", slug=kaggle.slug, page=page)
        # A server that ignores the page number sends the first page again.
        new = [row for row in rows if row["ref"] not in seen]
        if not new:
            return
        seen |= {row["ref"] for row in new}
        yield from map(_read, new)


def _find(kaggle: KaggleClient, tag: str) -> SubmissionRef | None:
    return next((one for one in _listed(kaggle) if one.description.startswith(f"[{tag}]")), None)


def _read(row: dict[str, Any]) -> SubmissionRef:
    try:
        public, private = (
            float(row[key]) if row[key] else None for key in ("public_score", "private_score")
        )
    except ValueError as error:
        raise KaggleError(
            f"submission {row['ref']}: expected scores as numbers, got "
            f"{row['public_score']!r} and {row['private_score']!r}. Look at the submission's page."
        ) from error
    return SubmissionRef(
        row["ref"], row["description"], row["status"], public, private, row["error"]
    )


def _check_limit(kaggle: KaggleClient) -> None:
    """Stop before anything is sent if Kaggle would refuse it.

    Raises:
        KaggleError: No submission is left today.
    """
    limits = kaggle.call("limits", "asking for today's limit", slug=kaggle.slug)
    # All zero: no team yet, and the first submission makes one.
    if limits["allowed_now"] <= 0 and limits["total"] > 0:
        raise KaggleError(
            f"{kaggle.slug}: the daily limit of submissions is used up ({limits['today']} today, "
            f"{limits['total']} in all). Nothing was sent: submit again after midnight UTC."
        )


def _submit(kaggle: KaggleClient, path: Path, tag: str, description: str) -> SubmissionRef:
    """Send the file and make the submission; each of the three calls is repeated only if safe."""
    doing = f"submitting {path.name}"

    def create() -> SubmissionRef | Failure:
        token = kaggle.upload(
            "start_upload", path, f"{doing} (nothing was submitted)", slug=kaggle.slug
        )
        answer = kaggle.attempt("create", slug=kaggle.slug, token=token, description=description)
        if answer == 0:
            return Failure("unreadable", "the reply names no submission")
        if isinstance(answer, Failure):
            return answer
        return SubmissionRef(answer, description, "PENDING", None, None, "")

    def found(failure: Failure) -> SubmissionRef | None:
        submission = _look_for(kaggle, tag)
        if submission is None and failure.kind != "http":
            raise KaggleError(_fate_unknown(failure, kaggle.slug, tag, doing))
        return submission

    return kaggle.retried(doing, create, found)


def _fate_unknown(failure: Failure, slug: str, tag: str, doing: str) -> str:
    """Say why the pipeline does not try again by itself: a request on its way may still count."""
    return (
        f"Kaggle, {doing}: {failure.quote.rstrip('. ')}, and no submission with the tag [{tag}] is "
        f"listed. It may still appear: look at https://www.kaggle.com/competitions/{slug}/"
        "submissions in a few minutes and run the same command again. It looks for the tag first, "
        "and sends the file only if it is not there."
    )


def _look_for(kaggle: KaggleClient, tag: str) -> SubmissionRef | None:
    """Look for the tag until it is there or `settle_s` have passed; a list may lag."""
    end = time.monotonic() + kaggle.patience.settle_s
    while True:
        submission = _find(kaggle, tag)
        if submission or time.monotonic() >= end:
            return submission
        time.sleep(min(kaggle.patience.poll_s, kaggle.patience.settle_s))


def _wait(kaggle: KaggleClient, submission: SubmissionRef) -> SubmissionRef:
    """Poll until the submission is scored or failed, or the deadline has passed."""
    end = time.monotonic() + kaggle.patience.score_s
    while submission.status == "PENDING" and time.monotonic() < end:
        now = next((one for one in _listed(kaggle) if one.ref == submission.ref), None)
        submission = now or submission
        if submission.status == "PENDING":
            time.sleep(kaggle.patience.poll_s)
    return submission
