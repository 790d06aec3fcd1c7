"""The account's submissions to a competition, as Kaggle lists them.

What a competitor only reads must not stop an upload: a score that is no number is no score, and a
status that is not known here is kept as it is.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.kaggle.client import PATIENCE, KaggleClient, Patience

LOG = logging.getLogger(__name__)
PAGES = 100
DECIDED = ("COMPLETE", "ERROR")


@dataclass(frozen=True)
class SubmissionRef:
    """A submission as Kaggle lists it.

    Attributes:
        ref: Kaggle's number; None where it gives none that can be read.
        description: The tag in brackets, then the message.
        status: `PENDING`, `COMPLETE` or `ERROR`, or another word of Kaggle's.
        public_score: None while pending, and where Kaggle does not show a finite number.
        private_score: The same; shown once the competition has ended.
        error: Kaggle's reason for `ERROR`; often empty.
    """

    ref: int | None
    description: str
    status: str
    public_score: float | None
    private_score: float | None
    error: str

    def is_of(self, tag: str, ref: int | None) -> bool:
        """Tell whether it carries a tag, or the number that Kaggle gave it."""
        return self.description.startswith(f"[{tag}]") or (ref is not None and ref == self.ref)


def fetch_scores(slug: str, *, patience: Patience = PATIENCE) -> list[SubmissionRef]:
    """Return all of the account's submissions to a competition, newest first.

    Raises:
        KaggleError: Kaggle refused, failed or stayed silent.
    """
    with KaggleClient(slug, patience) as kaggle:
        return list(_listed(kaggle))


def find(kaggle: KaggleClient, tag: str, ref: int | None = None) -> SubmissionRef | None:
    """Return the listed submission with a tag or a number, None if there is none.

    Raises:
        KaggleError: Kaggle refused, failed or stayed silent.
    """
    return next((one for one in _listed(kaggle) if one.is_of(tag, ref)), None)


def _listed(kaggle: KaggleClient) -> Iterator[SubmissionRef]:
    """Yield the submissions, newest first, page by page as far as they are asked for."""
    seen: set[tuple[int | None, str]] = set()
    for page in range(1, PAGES + 1):
        rows = kaggle.call("submissions", "listing the submissions", slug=kaggle.slug, page=page)
        # A server that ignores the page number sends the first page again.
        new = [row for row in map(_read, rows) if (row.ref, row.description) not in seen]
        if not new:
            return
        seen |= {(row.ref, row.description) for row in new}
        yield from new


def _read(row: dict[str, Any]) -> SubmissionRef:
    """Read a row whose values are texts, "" for what Kaggle leaves out."""
    try:
        ref = int(row["ref"])
    except ValueError:
        ref = None
    status = row["status"].upper() or "PENDING"  # the protocol leaves out its first word
    status = next((word for word in ("PENDING", *DECIDED) if status.endswith(word)), status)
    scores = _score(row["publicScore"]), _score(row["privateScore"])
    return SubmissionRef(ref, row["description"], status, *scores, row["errorDescription"])


@cache  # says it once
def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if math.isfinite(score):
        return score
    LOG.warning("Kaggle shows the score %r of a submission, which is no number: no score", text)
    return None
