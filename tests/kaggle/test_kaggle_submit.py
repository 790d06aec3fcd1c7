import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import SLUG, Handler, KaggleServer, drop, lost, lost_to, page, reply, silence
from waiting import wait_until

from pipeline.errors import ArtifactError
from pipeline.kaggle.client import Patience
from pipeline.kaggle.failures import KaggleError
from pipeline.kaggle.ledger import LedgerRow, append_or_update, enter, read_ledger
from pipeline.kaggle.listing import SubmissionRef, fetch_scores
from pipeline.kaggle.submit import check_upload, describe, upload_submission

pytestmark = pytest.mark.contract
TAG = "run-1a2b"
SPAWNED = multiprocessing.get_context("spawn")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run-1a2b.csv"
    path.write_text("ImageId,EncodedPixels\na.jpg,1 2\n")
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.csv"


def row(tag: str = TAG) -> LedgerRow:
    return LedgerRow("1a2b", "run", f"{tag}.csv", "2026-01-01T00:00:00+00:00", 0.8, "", "", tag)


def upload(
    file: Path, patience: Patience, ledger: Path, tag: str = TAG, message: str = "first\ntry"
) -> SubmissionRef:
    return upload_submission(
        file, slug=SLUG, message=message, row=row(tag), ledger=ledger, patience=patience
    )


def states(ledger: Path) -> list[tuple[int | None, str]]:
    return [(each.ref, each.status.split(" ")[0]) for each in read_ledger(ledger)]


def test_a_file_goes_up_and_its_score_comes_back(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    server.pending_looks = 3
    scored = upload(file, patience, ledger)
    text = "[run-1a2b] first try"
    assert scored == SubmissionRef(1000, text, "COMPLETE", 0.81234, 0.83456, "")
    (kept,) = read_ledger(ledger)
    assert kept == replace(row(), message="first\ntry").with_result(scored)
    assert list(server.uploads.values()) == [file.read_bytes()]
    assert fetch_scores(SLUG, patience=patience) == [scored]


def test_the_same_tag_is_submitted_once(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    first = upload(file, patience, ledger)
    assert upload(file, patience, ledger) == first
    assert upload(file, patience, ledger, tag="run-1a2").ref == 1001
    assert len(server.submissions) == 2


def test_a_tag_is_found_behind_many_other_submissions(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    upload(file, patience, ledger)
    server.submissions[:0] = [
        {"ref": ref, "description": f"other {ref}", "looks": 9} for ref in range(2000, 2250)
    ]
    assert upload(file, patience, ledger).ref == 1000
    assert len(fetch_scores(SLUG, patience=patience)) == 251


@pytest.mark.parametrize("fault", [lost, lost_to(502)])
def test_a_lost_reply_makes_no_second_submission(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    fault: object,
) -> None:
    server.fail("CreateSubmission", fault)
    assert upload(file, patience, ledger).status == "COMPLETE"
    assert len(server.submissions) == 1
    assert server.calls["CreateSubmission"] == 1


def test_a_submission_that_appears_late_is_waited_for(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    server.fail("CreateSubmission", lost)
    empty = page(200, '{"submissions": []}')
    server.fail("ListSubmissions", empty, times=3)
    assert upload(file, replace(patience, settle_s=10), ledger).ref == 1000
    assert server.calls["CreateSubmission"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        *(drop, silence, page(200, "<html>"), reply(408), reply(503, "maintenance")),
        page(200, '{"code": 504, "message": "upstream"}'),
    ],
)
def test_a_submission_of_unknown_fate_is_not_repeated_before_the_user_asks(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    fault: object,
) -> None:
    server.fail("CreateSubmission", fault)
    with pytest.raises(KaggleError, match=r"no submission with the tag \[run-1a2b\] is listed"):
        upload(file, replace(patience, call_s=2.0), ledger)
    assert states(ledger) == [(None, "SENDING")]
    with pytest.raises(KaggleError, match=r"sent at \d\d:.*run the same command again after 20"):
        upload(file, patience, ledger)
    assert server.calls["CreateSubmission"] == 1
    assert upload(file, replace(patience, trust_s=0), ledger).status == "COMPLETE"
    assert len(server.submissions) == 1


def test_a_refused_submission_is_tried_again_a_bounded_number_of_times(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
) -> None:
    fault = reply(429, "slow down")
    server.fail("CreateSubmission", fault, times=2)
    assert upload(file, patience, ledger).status == "COMPLETE"
    server.fail("CreateSubmission", fault, times=100)
    with pytest.raises(KaggleError, match="slow down"):
        upload(file, patience, ledger, tag="other")
    assert states(ledger) == [(1000, "COMPLETE"), (None, "")]
    assert server.calls["CreateSubmission"] == 3 + patience.attempts
    assert len(server.submissions) == 1


def test_the_daily_limit_is_told_before_anything_is_sent(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    upload(file, patience, ledger, tag="before")
    server.allowed = 1
    with pytest.raises(KaggleError, match=r"daily limit.*1 today.*Nothing was sent.*midnight UTC"):
        upload(file, patience, ledger)
    assert server.calls["StartSubmissionUpload"] == 1


@pytest.mark.parametrize("call", ["StartSubmissionUpload", "CreateSubmission"])
def test_a_refusal_is_not_repeated(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path, call: str
) -> None:
    server.fail(call, reply(403, "The competition's deadline has passed"))
    with pytest.raises(KaggleError, match="takes no submissions"):
        upload(file, patience, ledger)
    assert states(ledger) == [(None, "")]
    assert server.calls[call] == 1
    assert server.submissions == []


def test_a_limit_that_is_reached_meanwhile_is_told(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    server.allowed = 0
    with pytest.raises(KaggleError, match=r"HTTP 400: Submission not allowed.*midnight UTC"):
        upload(file, patience, ledger)


def test_a_first_submission_is_possible_without_a_team(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    none = page(200, '{"numToday": 0, "numTotal": 0, "numAllowedNow": 0}')
    server.fail("GetSubmissionLimits", none)
    assert upload(file, patience, ledger).status == "COMPLETE"


@pytest.mark.parametrize("fault", [reply(403, "expired"), reply(503, "busy")])
def test_a_failed_put_is_tried_again_and_then_told(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    fault: object,
) -> None:
    server.fail("PUT", fault)
    assert upload(file, patience, ledger).status == "COMPLETE"
    server.fail("PUT", fault, times=100)
    with pytest.raises(KaggleError, match=r"nothing was submitted.*the file did not arrive"):
        upload(file, patience, ledger, tag="other")
    assert server.calls["CreateSubmission"] == 1


@pytest.mark.parametrize("fault", [silence, drop])
def test_a_put_that_hangs_ends_at_its_deadline(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    fault: object,
) -> None:
    server.fail("PUT", fault, times=100)
    started = time.monotonic()
    with pytest.raises(KaggleError, match="nothing was submitted"):
        upload(file, replace(patience, put_s=0.5, attempts=2), ledger)
    assert time.monotonic() - started < 8
    assert server.calls["CreateSubmission"] == 0


@pytest.mark.parametrize("reason", ["EncodedPixels of a.jpg overlap", ""])
def test_a_submission_that_kaggle_cannot_score_is_told_and_recorded(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    reason: str,
) -> None:
    server.status, server.reason = "ERROR", reason
    with pytest.raises(KaggleError, match=reason or "it gives no reason"):
        upload(file, patience, ledger)
    assert states(ledger) == [(1000, "ERROR")]


def test_a_score_that_takes_too_long_is_left_pending(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    ledger: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.pending_looks = 10**6
    assert upload(file, replace(patience, score_s=0.3), ledger).status == "PENDING"
    assert "--scores" in caplog.text


def test_a_score_without_a_private_part_is_read(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    server.scores = ("0.0", "")
    scored = upload(file, patience, ledger)
    assert (scored.public_score, scored.private_score) == (0.0, None)


@pytest.mark.parametrize("content", [None, b""])
def test_without_a_file_nothing_is_called(
    server: KaggleServer,
    tmp_path: Path,
    patience: Patience,
    ledger: Path,
    content: bytes | None,
) -> None:
    path = tmp_path / "submission.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="expected a submission file"):
        upload(path, patience, ledger)
    assert not server.calls


def test_an_upload_that_is_killed_while_it_sends_is_not_repeated_before_the_list_can_be_trusted(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    def taken_in_silence(handler: Handler) -> None:
        handler.mute = True
        handler.serve()
        silence(handler)

    server.fail("CreateSubmission", taken_in_silence)
    killed = SPAWNED.Process(target=upload, args=(file, patience, ledger))
    killed.start()
    wait_until(lambda: server.submissions, within_s=30)
    killed.kill()
    killed.join()
    assert states(ledger) == [(None, "SENDING")]
    stale = page(200, '{"submissions": []}')
    server.fail("ListSubmissions", stale)
    with pytest.raises(KaggleError, match="run the same command again after"):
        upload(file, patience, ledger)
    assert upload(file, patience, ledger).ref == 1000
    assert len(server.submissions) == 1
    assert states(ledger) == [(1000, "COMPLETE")]


def test_a_submission_that_only_the_ledger_knows_is_not_sent_again(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    append_or_update(ledger, replace(row(), ref=7, status="COMPLETE", public_score=0.5))
    found = upload(file, patience, ledger, message="again")
    assert (found.ref, found.status, found.public_score) == (7, "COMPLETE", 0.5)
    assert server.calls["StartSubmissionUpload"] == 0
    (kept,) = read_ledger(ledger)
    assert (kept.message, kept.public_score) == ("", 0.5)


def test_two_uploads_at_once_make_one_submission_though_the_list_is_stale(
    server: KaggleServer, file: Path, patience: Patience, ledger: Path
) -> None:
    server.fail("ListSubmissions", page(200, '{"submissions": []}'), times=5)
    uploads = [SPAWNED.Process(target=upload, args=(file, patience, ledger)) for _ in range(2)]
    for each in uploads:
        each.start()
    for each in uploads:
        each.join(60)
    assert [each.exitcode for each in uploads] == [0, 0]
    assert len(server.submissions) == 1
    assert states(ledger) == [(1000, "COMPLETE")]


def enter_in_a_process(ledger: Path, writer: int) -> None:
    for number in range(20):
        enter(ledger, row(f"{writer}-{number}"))


def test_no_row_of_several_writers_at_once_is_lost(ledger: Path) -> None:
    writers = [SPAWNED.Process(target=enter_in_a_process, args=(ledger, n)) for n in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
    tags = {each.tag for each in read_ledger(ledger)}
    assert tags == {f"{writer}-{number}" for writer in range(4) for number in range(20)}


@pytest.mark.parametrize("score", ["n/a", "nan", "inf", "1e999", "", None])
def test_a_score_that_is_no_number_is_no_score(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    caplog: pytest.LogCaptureFixture,
    score: str | None,
) -> None:
    server.scores, server.pending_looks = (score, "0.9"), 0
    scored = upload(file, patience, file.with_name("ledger.csv"))
    assert (scored.status, scored.public_score, scored.private_score) == ("COMPLETE", None, 0.9)
    fetch_scores(SLUG, patience=patience)
    assert caplog.text.count("which is no number") == (1 if score else 0)


def test_fields_that_kaggle_leaves_out_or_writes_otherwise_are_read(
    server: KaggleServer, patience: Patience
) -> None:
    odd = """{"submissions": [
        {"ref": "12", "description": null, "status": "QUEUED_ANEW", "date": "yesterday"},
        {"ref": 13, "description": "b", "status": "SubmissionStatus.COMPLETE", "publicScore": 0},
        {"ref": "x", "description": "c", "errorDescription": "\\u001b[31mred\\u0007\\nline"}]}"""
    server.fail("ListSubmissions", page(200, odd))
    assert fetch_scores(SLUG, patience=patience) == [
        SubmissionRef(12, "", "QUEUED_ANEW", None, None, ""),
        SubmissionRef(13, "b", "COMPLETE", 0.0, None, ""),
        SubmissionRef(None, "c", "PENDING", None, None, "red line"),
    ]


def test_what_kaggle_would_refuse_is_told_without_a_file(
    server: KaggleServer, patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    check_upload(SLUG, patience=patience)
    assert caplog.text == ""
    server.submissions.append({"ref": 1, "description": "", "looks": 0})
    server.allowed = 1
    check_upload(SLUG, patience=patience)
    assert "used up (1 today, 1 in all). What is not sent yet: submit again" in caplog.text
    with pytest.raises(KaggleError, match="the slug `airbus-ship` is mistyped"):
        check_upload("airbus-ship", patience=patience)
    server.joined = False
    with pytest.raises(KaggleError, match="rules are not accepted"):
        check_upload(SLUG, patience=patience)
    assert server.calls["StartSubmissionUpload"] == 0


def test_a_description_is_one_line_and_starts_with_the_tag() -> None:
    assert describe("t-1", "a\n b\t c") == "[t-1] a b c"
    assert describe("t-1", "") == "[t-1]"
