from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.kaggle.ledger import (
    LedgerRow,
    append_or_update,
    read_ledger,
    refresh_ledger,
    scores_table,
)
from pipeline.kaggle.listing import SubmissionRef

pytestmark = pytest.mark.unit
ROW = LedgerRow(
    hash="1a2b3c4d5e",
    run="airbus",
    file="airbus-1a2b.csv",
    created_utc="2026-11-23T20:00:00+00:00",
    oof_score=0.8423,
    message='with "quotes", commas\nand lines',
    commit="abc",
    tag="airbus-1a2b",
)
HEADER = (
    "hash,run,file,created_utc,oof_score,message,commit,tag,ref,status,public_score,private_score,"
    "competition"
)
SCORED = SubmissionRef(7, "[airbus-1a2b] with", "COMPLETE", 0.81, 0.84, "")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "submissions" / "ledger.csv"
    assert read_ledger(path) == []
    other = replace(ROW, tag="other", oof_score=None, message="", ref=0, public_score=0.0)
    append_or_update(path, ROW)
    append_or_update(path, other)
    assert read_ledger(path) == [ROW, other]
    append_or_update(path, ROW.with_result(SCORED))
    assert read_ledger(path) == [ROW.with_result(SCORED), other]
    assert path.read_text().splitlines()[0] == HEADER


def test_a_ledger_of_0_4_0_is_read_and_carried_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    header = HEADER.replace("oof_score", "oof_f2").removesuffix(",competition")
    path.write_text(f"{header}\n1a,run,run-1a.csv,2026-01-01,0.83,m,,run-1a,7,COMPLETE,0.8,0.7\n")
    (row,) = read_ledger(path)
    assert (row.oof_score, row.private_score, row.competition) == (0.83, 0.7, "")
    append_or_update(path, replace(ROW, competition="tgs_salt"))
    assert read_ledger(path) == [row, replace(ROW, competition="tgs_salt")]
    assert path.read_text().splitlines()[0] == HEADER


def test_a_message_of_several_lines_survives(tmp_path: Path) -> None:
    rows = [replace(ROW, message='two\nlines, "quoted"'), replace(ROW, tag="b", message="NA")]
    for row in rows:
        append_or_update(tmp_path / "ledger.csv", row)
    assert read_ledger(tmp_path / "ledger.csv") == rows


def test_scores_are_refreshed_by_tag_or_reference(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    pending = replace(ROW, tag="b", ref=8, status="PENDING")
    for row in (ROW, pending, replace(ROW, tag="c")):
        append_or_update(path, row)
    late = SubmissionRef(8, "renamed on the site", "ERROR", None, None, "bad")
    elsewhere = SubmissionRef(9, "[from elsewhere]", "COMPLETE", 0.5, 0.5, "")
    rows = refresh_ledger(path, [elsewhere, late, SCORED])
    assert rows == read_ledger(path)
    assert [(row.tag, row.status, row.ref) for row in rows] == [
        ("airbus-1a2b", "COMPLETE", 7),
        ("b", "ERROR", 8),
        ("c", "", None),
    ]


def test_a_row_that_is_being_sent_says_since_when(tmp_path: Path) -> None:
    sent = ROW.as_sent("try")
    append_or_update(tmp_path / "ledger.csv", sent)
    (kept,) = read_ledger(tmp_path / "ledger.csv")
    assert kept == sent
    assert abs(datetime.now(UTC) - kept.sent) < timedelta(seconds=5)
    assert ROW.sent is None
    assert sent.with_result(SCORED).sent is None
    with pytest.raises(ArtifactError, match=r"row airbus-1a2b: expected .*found 'SENDING soon'"):
        replace(ROW, status="SENDING soon").sent  # noqa: B018


def test_what_kaggle_does_not_say_stays_as_it_was_known() -> None:
    scored = ROW.with_result(SCORED)
    silent = replace(SCORED, ref=None, public_score=None, private_score=0.85)
    assert scored.with_result(silent) == replace(scored, private_score=0.85)


def test_a_submission_without_a_number_is_not_that_of_a_row_without_one(tmp_path: Path) -> None:
    append_or_update(tmp_path / "ledger.csv", ROW)
    elsewhere = SubmissionRef(None, "[from elsewhere]", "COMPLETE", 0.5, 0.5, "")
    assert refresh_ledger(tmp_path / "ledger.csv", [elsewhere]) == [ROW]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "an empty file"),
        ("hash,run\n1,2\n", "got hash, run. Restore"),
        ("{header}\n1,2,3\n", "row 2: expected 13 fields on one line, got 3"),
        (
            "{header}\na,b,c,d,high,f,g,h,1,,,,\n",
            "row 2: expected a number or nothing in oof_score",
        ),
        ("{header}\na,b,c,d,,f,g,h,1.5,,,,\n", "in ref, found '1.5'"),
        ("{header}\n" + "a,b,c,d,,f,g,h,1,,,,\n" * 2, "the tag h is in two rows"),
    ],
)
def test_a_damaged_ledger_is_never_read_or_overwritten(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text(text.format(header=HEADER))
    with pytest.raises(ArtifactError, match=told):
        append_or_update(path, ROW)
    assert path.read_text() == text.format(header=HEADER)


def test_the_table_compares_scores() -> None:
    table = scores_table([ROW.with_result(SCORED), replace(ROW, run="b", oof_score=None)])
    assert table.splitlines() == [
        "   run     hash          created   status     oof  public  private private-oof",
        "airbus 1a2b3c4d 2026-11-23T20:00 COMPLETE 0.84230 0.81000  0.84000    -0.00230",
        "     b 1a2b3c4d 2026-11-23T20:00  unknown       -       -        -           -",
    ]
    assert scores_table([]) == "nothing was submitted yet"
