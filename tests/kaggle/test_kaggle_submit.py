import time
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import SLUG, KaggleServer, drop, lost, lost_to, page, reply, silence

from pipeline.errors import ArtifactError
from pipeline.kaggle.client import Patience
from pipeline.kaggle.failures import KaggleError
from pipeline.kaggle.submit import SubmissionRef, describe, fetch_scores, upload_submission

pytestmark = pytest.mark.contract
TAG = "run-1a2b"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run-1a2b.csv"
    path.write_text("ImageId,EncodedPixels\na.jpg,1 2\n")
    return path


@pytest.fixture
def recorded() -> list[SubmissionRef]:
    return []


def upload(
    file: Path, patience: Patience, recorded: list[SubmissionRef], tag: str = TAG
) -> SubmissionRef:
    return upload_submission(
        file, slug=SLUG, message="first\ntry", tag=tag, record=recorded.append, patience=patience
    )


def test_a_file_goes_up_and_its_score_comes_back(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    server.pending_looks = 3
    scored = upload(file, patience, recorded)
    text = "[run-1a2b] first try"
    assert scored == SubmissionRef(1000, text, "COMPLETE", 0.81234, 0.83456, "")
    assert recorded == [SubmissionRef(1000, text, "PENDING", None, None, ""), scored]
    assert list(server.uploads.values()) == [file.read_bytes()]
    assert fetch_scores(SLUG, patience=patience) == [scored]


def test_the_same_tag_is_submitted_once(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    first = upload(file, patience, recorded)
    assert upload(file, patience, recorded) == first
    assert upload(file, patience, recorded, tag="run-1a2").ref == 1001
    assert len(server.submissions) == 2


def test_a_tag_is_found_behind_many_other_submissions(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    upload(file, patience, recorded)
    server.submissions[:0] = [
        {"ref": ref, "description": f"other {ref}", "looks": 9} for ref in range(2000, 2250)
    ]
    assert upload(file, patience, recorded).ref == 1000
    assert len(fetch_scores(SLUG, patience=patience)) == 251


@pytest.mark.parametrize("fault", [lost, lost_to(502)])
def test_a_lost_reply_makes_no_second_submission(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    fault: object,
) -> None:
    server.fail("CreateSubmission", fault)
    assert upload(file, patience, recorded).status == "COMPLETE"
    assert len(server.submissions) == 1
    assert server.calls["CreateSubmission"] == 1


def test_a_submission_that_appears_late_is_waited_for(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    server.fail("CreateSubmission", lost)
    empty = page(200, '{"submissions": []}')
    server.fail("ListSubmissions", empty, times=3)
    assert upload(file, replace(patience, settle_s=10), recorded).ref == 1000
    assert server.calls["CreateSubmission"] == 1


@pytest.mark.parametrize("fault", [drop, silence, page(200, "<html>")])
def test_a_submission_of_unknown_fate_is_not_repeated_before_the_user_asks(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    fault: object,
) -> None:
    server.fail("CreateSubmission", fault)
    with pytest.raises(KaggleError, match=r"no submission with the tag \[run-1a2b\] is listed"):
        upload(file, replace(patience, call_s=2.0), recorded)
    assert server.calls["CreateSubmission"] == 1
    assert recorded == []
    assert upload(file, patience, recorded).status == "COMPLETE"
    assert len(server.submissions) == 1


@pytest.mark.parametrize("fault", [reply(429, "slow down"), reply(503, "maintenance")])
def test_a_refused_submission_is_tried_again_a_bounded_number_of_times(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    fault: object,
) -> None:
    server.fail("CreateSubmission", fault, times=2)
    assert upload(file, patience, recorded).status == "COMPLETE"
    server.fail("CreateSubmission", fault, times=100)
    with pytest.raises(KaggleError, match=r"slow down|maintenance"):
        upload(file, patience, recorded, tag="other")
    assert server.calls["CreateSubmission"] == 3 + patience.attempts
    assert len(server.submissions) == 1


def test_the_daily_limit_is_told_before_anything_is_sent(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    upload(file, patience, recorded, tag="before")
    server.allowed = 1
    with pytest.raises(KaggleError, match=r"daily limit.*1 today.*Nothing was sent.*midnight UTC"):
        upload(file, patience, recorded)
    assert server.calls["StartSubmissionUpload"] == 1


@pytest.mark.parametrize("call", ["StartSubmissionUpload", "CreateSubmission"])
def test_a_refusal_is_not_repeated(
    server: KaggleServer, file: Path, patience: Patience, call: str
) -> None:
    server.fail(call, reply(403, "The competition's deadline has passed"))
    with pytest.raises(KaggleError, match="takes no submissions"):
        upload(file, patience, [])
    assert server.calls[call] == 1
    assert server.submissions == []


def test_a_limit_that_is_reached_meanwhile_is_told(
    server: KaggleServer, file: Path, patience: Patience
) -> None:
    server.allowed = 0
    with pytest.raises(KaggleError, match=r"HTTP 400: Submission not allowed.*midnight UTC"):
        upload(file, patience, [])


def test_a_first_submission_is_possible_without_a_team(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    none = page(200, '{"numToday": 0, "numTotal": 0, "numAllowedNow": 0}')
    server.fail("GetSubmissionLimits", none)
    assert upload(file, patience, recorded).status == "COMPLETE"


@pytest.mark.parametrize("fault", [reply(403, "expired"), reply(503, "busy")])
def test_a_failed_put_is_tried_again_and_then_told(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    fault: object,
) -> None:
    server.fail("PUT", fault)
    assert upload(file, patience, recorded).status == "COMPLETE"
    server.fail("PUT", fault, times=100)
    with pytest.raises(KaggleError, match=r"nothing was submitted.*the file did not arrive"):
        upload(file, patience, recorded, tag="other")
    assert server.calls["CreateSubmission"] == 1


@pytest.mark.parametrize("fault", [silence, drop])
def test_a_put_that_hangs_ends_at_its_deadline(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    fault: object,
) -> None:
    server.fail("PUT", fault, times=100)
    started = time.monotonic()
    with pytest.raises(KaggleError, match="nothing was submitted"):
        upload(file, replace(patience, put_s=0.5, attempts=2), recorded)
    assert time.monotonic() - started < 8
    assert server.calls["CreateSubmission"] == 0


@pytest.mark.parametrize("reason", ["EncodedPixels of a.jpg overlap", ""])
def test_a_submission_that_kaggle_cannot_score_is_told_and_recorded(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    reason: str,
) -> None:
    server.status, server.reason = "ERROR", reason
    with pytest.raises(KaggleError, match=reason or "it gives no reason"):
        upload(file, patience, recorded)
    assert [one.status for one in recorded] == ["PENDING", "ERROR"]
    assert recorded[-1].error == reason


def test_a_score_that_takes_too_long_is_left_pending(
    server: KaggleServer,
    file: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.pending_looks = 10**6
    assert upload(file, replace(patience, score_s=0.3), recorded).status == "PENDING"
    assert "--scores" in caplog.text


def test_a_score_without_a_private_part_is_read(
    server: KaggleServer, file: Path, patience: Patience, recorded: list[SubmissionRef]
) -> None:
    server.scores = ("0.0", "")
    scored = upload(file, patience, recorded)
    assert (scored.public_score, scored.private_score) == (0.0, None)


@pytest.mark.parametrize("content", [None, b""])
def test_without_a_file_nothing_is_called(
    server: KaggleServer,
    tmp_path: Path,
    patience: Patience,
    recorded: list[SubmissionRef],
    content: bytes | None,
) -> None:
    path = tmp_path / "submission.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="expected a submission file"):
        upload(path, patience, recorded)
    assert not server.calls


def test_a_description_is_one_line_and_starts_with_the_tag() -> None:
    assert describe("t-1", "a\n b\t c") == "[t-1] a b c"
    assert describe("t-1", "") == "[t-1]"
