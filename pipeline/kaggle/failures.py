"""What can go wrong between here and Kaggle, and what the user is told to do about it.

A `Failure` says what a call met; `explain` turns it into a message that names the next step.
Kaggle's own words are always quoted: the same status code stands for several mistakes.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import PipelineError

Kind = Literal["credentials", "http", "local", "network", "silent", "unreadable"]

NO_CREDENTIALS = (
    "Make a token at https://www.kaggle.com/settings/api and give it in one of these ways: the "
    "environment variable KAGGLE_API_TOKEN; the file ~/.kaggle/access_token; the file kaggle.json "
    "in ~/.kaggle, ~/.config/kaggle or $KAGGLE_CONFIG_DIR; the two variables KAGGLE_USERNAME and "
    "KAGGLE_KEY; or `kaggle auth login`"
)
ADVICE_BY_KIND: dict[str, str] = {
    "credentials": NO_CREDENTIALS,
    "local": "Correct that on this machine, then run the same command again: it resumes there",
    "network": "Check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and "
    "https://status.kaggle.com, then run the same command again: it resumes there",
    "silent": "Check the network and https://status.kaggle.com, then run the same command again",
    "unreadable": "Something between here and Kaggle changed the answer (a proxy, a login page), "
    "or the kaggle package does not fit: install the version that pyproject.toml pins",
}
ADVICE_BY_STATUS = {
    401: "The token or key is stale or mistyped. A token (KAGGLE_API_TOKEN, then "
    "~/.kaggle/access_token) hides a kaggle.json even when it has expired: renew it at "
    "https://www.kaggle.com/settings/api, or remove it",
    404: "Kaggle knows no competition `{slug}`: correct the slug; {page} must open",
    429: "Kaggle limits the rate of calls: wait a few minutes, then run the same command again",
    500: "Kaggle is in trouble (https://status.kaggle.com): run the same command again later",
}
REQUEST_TIMEOUT = 408  # the words of a proxy that gave up; the call may still arrive
# Of a dataset or notebook, whose address starts with its owner's name.
ADVICE_FOR_OWN = (
    "Only a token of the account `{owner}` may write {slug}: correct the account's name, or give "
    "its token. Kaggle lets an account use a GPU after its phone number is verified at "
    "https://www.kaggle.com/settings"
)
# 403 is also Kaggle's answer to a slug that does not exist.
ADVICE_FOR_REFUSAL = (
    "Either the rules are not accepted: join and accept them at {page}/rules with the account of "
    "the token; or the slug `{slug}` is mistyped: {page} must open"
)


ESCAPE_SEQUENCES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*)?")


def printable(value: Any) -> Any:  # noqa: ANN401  JSON values
    """Make every text in a JSON value one line that leaves the terminal alone."""
    if isinstance(value, dict):
        return {key: printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [printable(each) for each in value]
    if not isinstance(value, str):
        return value
    text = ESCAPE_SEQUENCES.sub(" ", value)
    words = "".join(each if each.isprintable() else " " for each in text).split()
    return " ".join(words)


class KaggleError(PipelineError):
    """Kaggle refused, failed or stayed silent; the message says what to do."""


@dataclass(frozen=True)
class Failure:
    """Why one call came to nothing.

    Attributes:
        kind: `credentials`: none usable; `http`: Kaggle answered with an error status; `network`:
            no whole answer; `silent`: no answer before the deadline; `unreadable`: an answer
            that is not the protocol; `local`: this machine's fault.
        text: What was said, by Kaggle where it spoke.
        status: The HTTP status, for `http`.
        retry_after_s: How long Kaggle asked to wait, if it did.
    """

    kind: Kind
    text: str
    status: int = 0
    retry_after_s: float | None = None

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.kind in {"network", "silent"} or self.status == 429 or self.status >= 500

    @property
    def refused(self) -> bool:
        """Whether the call certainly had no effect; otherwise it may have had one."""
        certain = self.kind == "http" and self.status < 500 and self.status != REQUEST_TIMEOUT
        return certain or self.kind == "credentials"

    @property
    def quote(self) -> str:
        """Kaggle's words, with the status where there is one."""
        return f"HTTP {self.status}: {self.text}" if self.status else self.text


def explain(failure: Failure, slug: str, doing: str) -> str:
    """Say what failed and what to do.

    Args:
        failure: What the last attempt met.
        slug: The competition, or `USER/NAME` of a dataset or notebook.
        doing: What was attempted, such as "downloading the competition's files".
    """
    return f"Kaggle, {doing}: {failure.quote.rstrip('. ')}. {_advice(failure, slug)}."


def _advice(failure: Failure, slug: str) -> str:
    page = f"https://www.kaggle.com/competitions/{slug}"
    if failure.kind != "http":
        return ADVICE_BY_KIND[failure.kind]
    status = 500 if failure.status >= 500 else failure.status
    owner, _, name = slug.partition("/")
    if name and status not in {401, 429, 500}:
        return ADVICE_FOR_OWN.format(owner=owner, slug=slug)
    if status in ADVICE_BY_STATUS:
        return ADVICE_BY_STATUS[status].format(slug=slug, page=page)
    # For a refusal there are only the words to go by.
    words = failure.text.lower()
    if re.search(r"daily|limit|maximum|remaining|too many", words):
        return "The daily limit of submissions is used up: submit again after midnight UTC"
    if re.search(r"closed|deadline|ended|no longer|disabled|not accepting", words):
        return f"The competition takes no submissions (any more): see {page}"
    return ADVICE_FOR_REFUSAL.format(slug=slug, page=page)
