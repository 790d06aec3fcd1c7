"""What was submitted, from which run, and what Kaggle said: `submissions/ledger.csv`.

One row per submission, found again by its tag. The file is part of the project's history, so it is
read strictly, and written whole by one process at a time.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.lock import Lock
from pipeline.jobs.tables import header_of, read_table
from pipeline.kaggle.listing import SubmissionRef

LEDGER = Path("submissions") / "ledger.csv"
RESULTS = ("ref", "status", "public_score", "private_score")
SENDING = "SENDING"
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class LedgerRow:
    """One submission; the fields are the columns of the file.

    Attributes:
        hash: SHA-256 of the file, or its beginning.
        run: Name of the run.
        file: Name of the file.
        created_utc: When it was sent, ISO 8601.
        oof_score: The cross-validated score of the run, by the competition's metric, 0..1.
        message: The user's words.
        commit: The code's version.
        tag: What the submission's description at Kaggle starts with; unique.
        ref: Kaggle's number; None until it is known.
        status: `PENDING`, `COMPLETE`, `ERROR`; `SENDING` and when, while no reply is known of; ""
            before it is sent.
        public_score: 0..1, None until it is known.
        private_score: 0..1, None until it is known.
        competition: As configurations call it; "" in rows of up to version 0.4.0.
    """

    hash: str
    run: str
    file: str
    created_utc: str
    oof_score: float | None
    message: str
    commit: str
    tag: str
    ref: int | None = None
    status: str = ""
    public_score: float | None = None
    private_score: float | None = None
    competition: str = ""

    def with_result(self, submission: SubmissionRef) -> "LedgerRow":
        """Return the row with what Kaggle now says; what it does not say stays as it was known."""
        said = {name: getattr(submission, name) for name in RESULTS}
        return replace(self, **{name: value for name, value in said.items() if value is not None})

    def as_sent(self, message: str) -> "LedgerRow":
        """Return the row of a submission that is sent now, with a message."""
        return replace(self, message=message, status=f"{SENDING} {datetime.now(UTC):{TIME}}")

    @property
    def sent(self) -> datetime | None:
        """When it was sent, if no reply is known of since; None otherwise.

        Raises:
            ArtifactError: The time cannot be read.
        """
        if self.ref is not None or not self.status.startswith(SENDING):
            return None
        try:
            return datetime.strptime(self.status, f"{SENDING} {TIME}").replace(tzinfo=UTC)
        except ValueError:
            raise ArtifactError(
                f"the ledger's row {self.tag}: expected the status `{SENDING}` with a time such as "
                f"{datetime.now(UTC):{TIME}}, found {self.status!r}. Correct the time, lest the "
                "file be sent twice."
            ) from None


COLUMNS = [column.name for column in fields(LedgerRow)]
COLUMNS_0_4_0 = [name.replace("oof_score", "oof_f2") for name in COLUMNS[:-1]]
NUMBERS = {"oof_score": float, "ref": int, "public_score": float, "private_score": float}


def read_ledger(path: Path) -> list[LedgerRow]:
    """Read the ledger; a file that does not exist has no rows.

    Raises:
        ArtifactError: A column, a number or a tag is not as the ledger has it.
    """
    if not path.exists():
        return []
    advice = "Restore the file from the version control's history."
    columns = COLUMNS_0_4_0 if header_of(path) == COLUMNS_0_4_0 else COLUMNS
    lines = read_table(path, columns, advice=advice, error=ArtifactError, line_breaks=True)
    rows = [
        _parse(path, number, [*line, ""][: len(COLUMNS)])
        for number, line in enumerate(lines, start=2)
    ]
    tags = [row.tag for row in rows]
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise ArtifactError(f"{path}: the tag {twice} is in two rows. Remove the older one.")
    return rows


def _parse(path: Path, number: int, line: list[str]) -> LedgerRow:
    values: dict[str, str | float | int | None] = dict(zip(COLUMNS, line, strict=True))
    for column, kind in NUMBERS.items():
        text = str(values[column])
        try:
            values[column] = kind(text) if text else None
        except ValueError:
            raise ArtifactError(
                f"{path} row {number}: expected a number or nothing in {column}, found {text!r}. "
                "Correct the row."
            ) from None
    return LedgerRow(**values)  # type: ignore[arg-type]


def append_or_update(path: Path, row: LedgerRow) -> None:
    """Put `row` in the place of the row with its tag, or at the end.

    Raises:
        ArtifactError: The ledger cannot be read or written.
    """
    with _alone(path):
        rows = read_ledger(path)
        places = [place for place, known in enumerate(rows) if known.tag == row.tag]
        if places:
            rows[places[0]] = row
        else:
            rows.append(row)
        _write(path, rows)


def enter(path: Path, row: LedgerRow) -> LedgerRow:
    """Return the row that has the tag of `row`, which becomes that row if there is none.

    Raises:
        ArtifactError: The ledger cannot be read or written.
    """
    with _alone(path):
        rows = read_ledger(path)
        known = next((each for each in rows if each.tag == row.tag), None)
        if known is None:
            _write(path, [*rows, row])
        return known or row


def _alone(path: Path) -> Lock:
    return Lock(path.with_name(f".{path.stem}.lock"), str(path)).take(wait=True)


def refresh_ledger(path: Path, submissions: Sequence[SubmissionRef]) -> list[LedgerRow]:
    """Bring the rows up to date with Kaggle's list; submissions made elsewhere are left out.

    Returns:
        All rows.

    Raises:
        ArtifactError: The ledger cannot be read or written.
    """
    with _alone(path):
        rows = read_ledger(path)
        updated = [_latest(row, submissions) for row in rows]
        if updated != rows:
            _write(path, updated)
    return updated


def _latest(row: LedgerRow, submissions: Sequence[SubmissionRef]) -> LedgerRow:
    found = next((one for one in submissions if one.is_of(row.tag, row.ref)), None)
    return row.with_result(found) if found else row


def _write(path: Path, rows: Sequence[LedgerRow]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in asdict(row).items()})
    write_atomic(path, text.getvalue().encode())


def scores_table(rows: Sequence[LedgerRow]) -> str:
    """Return a table of text: out-of-fold against public and private score, per submission.

    The differences say whether cross-validation can be trusted: if they are about the same for
    all runs, a better out-of-fold score is a better private one.
    """
    if not rows:
        return "nothing was submitted yet"
    table = pd.DataFrame(
        {
            "run": [row.run for row in rows],
            "hash": [row.hash[:8] for row in rows],
            "created": [row.created_utc[:16] for row in rows],
            "status": [row.status or "unknown" for row in rows],
            "oof": [row.oof_score for row in rows],
            "public": [row.public_score for row in rows],
            "private": [row.private_score for row in rows],
        }
    ).astype({"oof": float, "public": float, "private": float})
    table["private-oof"] = (table["private"] - table["oof"]).map(
        "{:+.5f}".format, na_action="ignore"
    )
    return table.to_string(index=False, na_rep="-", float_format="%.5f")
