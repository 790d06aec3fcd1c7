import pytest

from pipeline.kaggle.failures import Failure, explain, printable

pytestmark = pytest.mark.unit


def http(status: int, text: str = "words") -> Failure:
    return Failure("http", text, status)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Failure("credentials", "no credentials"), "KAGGLE_API_TOKEN"),
        (Failure("silent", "no answer within 60 s"), "status.kaggle.com"),
        (Failure("network", "connection reset"), "HTTPS_PROXY"),
        (Failure("unreadable", "not JSON"), "changed the answer"),
        (Failure("local", "No space left on device"), "on this machine"),
        (http(401), "hides a kaggle.json even when it has expired"),
        (http(404), "no competition `slug`"),
        (http(429), "wait a few minutes"),
        (http(500), "is in trouble"),
        (http(503), "is in trouble"),
        (http(400, "You have used your daily submission limit"), "after midnight UTC"),
        (http(400, "Submission deadline has passed."), "takes no submissions (any more)"),
        (http(403, "Competition is closed"), "takes no submissions (any more)"),
        (http(403, "You must accept the rules"), "competitions/slug/rules"),
        (http(403, "Permission 'competitions.get' was denied"), "the slug `slug` is mistyped"),
    ],
)
def test_every_failure_is_quoted_and_has_a_next_step(failure: Failure, told: str) -> None:
    text = explain(failure, "slug", "submitting")
    assert text.startswith("Kaggle, submitting: ")
    assert failure.text.rstrip(".") in text
    assert told in text
    assert text.endswith(".")
    assert ".." not in text


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (http(400, "Title taken"), "Only a token of the account `me` may write me/run-package"),
        (http(403), "phone number is verified"),
        (http(404), "correct the account's name"),
        (http(401), "The token or key is stale or mistyped"),
        (http(503), "is in trouble"),
    ],
)
def test_for_a_dataset_the_account_is_named_and_not_a_competition(
    failure: Failure, told: str
) -> None:
    text = explain(failure, "me/run-package", "sending")
    assert told in text
    assert "competition" not in text


@pytest.mark.parametrize(
    ("failure", "passing", "refused"),
    [
        (Failure("credentials", ""), False, True),
        (Failure("silent", ""), True, False),
        (Failure("network", ""), True, False),
        (Failure("unreadable", ""), False, False),
        (Failure("local", ""), False, False),
        (http(400), False, True),
        (http(429), True, True),
        (http(408), False, False),
        (http(500), True, False),
    ],
)
def test_what_may_pass_and_what_had_no_effect(
    failure: Failure, passing: bool, refused: bool
) -> None:
    assert (failure.passing, failure.refused) == (passing, refused)


def test_words_of_others_leave_the_terminal_alone() -> None:
    said = {"a": ["\x1b[2J\x1b]0;title\x07wiped\r\n\tout \x9b31m\u202ex", 3, None], "b": "plain"}
    assert printable(said) == {"a": ["wiped out 31m x", 3, None], "b": "plain"}
