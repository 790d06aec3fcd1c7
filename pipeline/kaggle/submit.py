"""A submission up, its score back, and never a submission twice.

Every description starts with a tag of its own. Before a file is sent, and whenever the reply to a
submission is lost, the tag is looked for among the account's submissions: if it is there, that is
the submission. Kaggle's list may lag, so the ledger says that a file is being sent before it is:
it is sent again only when a list that is long enough after that does not show the tag.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.errors import ArtifactError
from pipeline.jobs.lock import Lock
from pipeline.kaggle.client import PATIENCE, KaggleClient, Patience
from pipeline.kaggle.failures import Failure, KaggleError
from pipeline.kaggle.ledger import LedgerRow, append_or_update, enter
from pipeline.kaggle.listing import DECIDED, SubmissionRef, find

LOG = logging.getLogger(__name__)
TOMORROW = "submit again after midnight UTC"


def describe(tag: str, message: str) -> str:
    """Return the description of a submission: one line, the tag first, lest it be cut off."""
    return f"[{tag}] {' '.join(message.split())}".strip()


def upload_submission(
    path: Path,
    *,
    slug: str,
    message: str,
    row: LedgerRow,
    ledger: Path,
    patience: Patience = PATIENCE,
) -> SubmissionRef:
    """Submit a file, unless a submission with this tag exists, and wait for its score.

    Args:
        path: The validated submission.
        slug: The competition, as in its address.
        message: What the user wants to remember of it.
        row: The file's row of the ledger; its tag is unique to this file and run.
        ledger: Told before the file is sent, when the submission exists, and when its score is
            there, so that it knows of it whatever happens in between. Two uploads wait for each
            other.
        patience: Deadlines and number of attempts.

    Returns:
        The submission; `PENDING` if its score took longer than `patience.score_s`.

    Raises:
        ArtifactError: There is no such file, or it is empty; or the ledger cannot be used.
        KaggleError: Kaggle refused the file, failed, stayed silent, or could not score it; or the
            file was sent, and it is not known yet whether it arrived.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ArtifactError(f"{path}: expected a submission file, found none. Run s6_submit first.")
    with KaggleClient(slug, patience) as kaggle:
        with Lock(ledger.with_name(".upload.lock"), "submitting").take(wait=True):
            row = enter(ledger, row)
            submission = _made_before(kaggle, row)
            if submission is None:
                if reason := _none_left(kaggle):
                    raise KaggleError(f"{reason}. Nothing was sent: {TOMORROW}.")
                submission = _submit(kaggle, path, row, message, ledger)
                row = replace(row, message=message)
            append_or_update(ledger, row.with_result(submission))
        submission = _wait(kaggle, row.tag, submission)
    append_or_update(ledger, row.with_result(submission))
    if submission.status == "ERROR":
        raise KaggleError(
            f"submission {submission.ref}: Kaggle could not score it: "
            f"{submission.error or 'it gives no reason'}. Compare {path} with the sample "
            "submission (columns, every ImageId, no pixel twice), and look at "
            f"https://www.kaggle.com/competitions/{slug}/submissions."
        )
    if submission.status not in DECIDED:
        LOG.warning(
            "submission %s is %s and has no score after %g s; look later with "
            "`python -m pipeline.s6_submit --scores`",
            *(submission.ref, submission.status, patience.score_s),
        )
    return submission


def check_upload(slug: str, *, patience: Patience = PATIENCE) -> None:
    """Ask Kaggle, before there is a file, whether one could be sent; warn if none is left today.

    Raises:
        KaggleError: It knows no such account or competition, the competition's rules are not
            accepted, or it failed or stayed silent.
    """
    with KaggleClient(slug, patience) as kaggle:
        # Of the calls that change nothing, the one that needs the rules to be accepted.
        kaggle.call("archive_size", "looking whether a submission can be sent", slug=slug)
        if reason := _none_left(kaggle):
            LOG.warning("%s. What is not sent yet: %s.", reason, TOMORROW)


def _made_before(kaggle: KaggleClient, row: LedgerRow) -> SubmissionRef | None:
    """Return the submission of a row; None if there is none.

    Raises:
        KaggleError: The file was sent, and it is not known yet whether it arrived.
    """
    found, sent = find(kaggle, row.tag, row.ref), row.sent
    if found is None and sent is None and (row.status or row.ref is not None):
        # The list lags behind the ledger.
        scores = row.public_score, row.private_score
        found = SubmissionRef(row.ref, "", row.status or "PENDING", *scores, "")
    if found is not None:
        LOG.info("submission %s carries the tag [%s]: not sent again", found.ref, row.tag)
    elif sent is not None and datetime.now(UTC) < sent + timedelta(seconds=kaggle.patience.trust_s):
        raise KaggleError(_fate_unknown(kaggle, row, f"sent at {sent:%H:%M:%S} UTC", sent))
    return found


def _none_left(kaggle: KaggleClient) -> str:
    """Say why Kaggle would take no submission now; "" if it would."""
    limits = kaggle.call("limits", "asking for today's limit", slug=kaggle.slug)
    # All zero: no team yet, and the first submission makes one.
    if limits["allowed_now"] > 0 or limits["total"] == 0:
        return ""
    return (
        f"{kaggle.slug}: the daily limit of submissions is used up ({limits['today']} today, "
        f"{limits['total']} in all)"
    )


def _submit(
    kaggle: KaggleClient, path: Path, row: LedgerRow, message: str, ledger: Path
) -> SubmissionRef:
    """Send the file and make the submission; each of the three calls is repeated only if safe."""
    doing, description = f"submitting {path.name}", describe(row.tag, message)

    def create() -> SubmissionRef | Failure:
        token = kaggle.upload(
            "start_upload", path, f"{doing} (nothing was submitted)", slug=kaggle.slug
        )
        append_or_update(ledger, row.as_sent(message))
        answer = kaggle.attempt("create", slug=kaggle.slug, token=token, description=description)
        if answer == 0:
            return Failure("unreadable", "the reply names no submission")
        if isinstance(answer, Failure):
            if answer.refused:
                append_or_update(ledger, row)
            return answer
        return SubmissionRef(answer, description, "PENDING", None, None, "")

    def found(failure: Failure) -> SubmissionRef:
        submission = _look_for(kaggle, row.tag)
        if submission is None:
            why = failure.quote.rstrip(". ")
            raise KaggleError(_fate_unknown(kaggle, row, why, datetime.now(UTC)))
        return submission

    return kaggle.retried(doing, create, found)


def _fate_unknown(kaggle: KaggleClient, row: LedgerRow, why: str, sent: datetime) -> str:
    """Say why the file is not sent again yet: a request on its way may still count."""
    again = sent + timedelta(seconds=kaggle.patience.trust_s)
    return (
        f"Kaggle, submitting {row.file}: {why}, and no submission with the tag [{row.tag}] is "
        f"listed. It may still appear: run the same command again after {again:%Y-%m-%d %H:%M:%S} "
        "UTC. It looks for the tag first, and sends the file only if it is not there. "
        f"https://www.kaggle.com/competitions/{kaggle.slug}/submissions shows what is there."
    )


def _look_for(kaggle: KaggleClient, tag: str) -> SubmissionRef | None:
    """Look for the tag until it is there or `settle_s` have passed; a list may lag."""
    end = time.monotonic() + kaggle.patience.settle_s
    while True:
        submission = find(kaggle, tag)
        if submission or time.monotonic() >= end:
            return submission
        time.sleep(min(kaggle.patience.poll_s, kaggle.patience.settle_s))


def _wait(kaggle: KaggleClient, tag: str, submission: SubmissionRef) -> SubmissionRef:
    """Poll until the submission is scored or failed, or the deadline has passed."""
    end = time.monotonic() + kaggle.patience.score_s
    while submission.status not in DECIDED and time.monotonic() < end:
        submission = find(kaggle, tag, submission.ref) or submission
        if submission.status not in DECIDED:
            time.sleep(kaggle.patience.poll_s)
    return submission
