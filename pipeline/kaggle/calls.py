"""What is asked of the `kaggle` client, in the worker process; only JSON values come and go.

Only public functions of the unmodified client are called. Its `competition_submit` is taken apart
into its three calls, because after a failure of the first two nothing was submitted, and after a
failure of the third something may have been.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

PAGE_SIZE = 100
FIELDS = ("ref", "description", "status", "publicScore", "privateScore", "errorDescription")
"""Of a submission, as the protocol names them."""


class CredentialsError(Exception):
    """No credentials, or none that Kaggle takes."""


def client_api() -> Any:  # noqa: ANN401  the client is untyped
    """Return the client, which is imported at the first call."""
    import kaggle

    return kaggle.api


def new_client() -> Any:  # noqa: ANN401  the client is untyped
    """Return a connection with the credentials that `login` found."""
    return client_api().build_kaggle_client()


def login() -> str:
    """Find credentials in every way that Kaggle documents; return the name of the way.

    Raises:
        CredentialsError: The token cannot be one; or it is one that Kaggle does not take, and hides
            the key that it might take.
    """
    from kagglesdk import get_access_token_from_env

    token, source = get_access_token_from_env()
    if token and not re.fullmatch(r"[!-~]+", token):
        raise CredentialsError(
            f"the access token of {source} holds a blank, a line break or a letter that no token "
            "has: copy it again"
        )
    api = client_api()
    if "auth_method" not in api.config_values:
        api.authenticate()
    method = str(api.config_values["auth_method"]).split(".")[-1]
    if token and method == "LEGACY_API_KEY":
        raise CredentialsError(
            f"the access token of {source} is stale or mistyped, and it hides the key in "
            f"{api.config} or KAGGLE_KEY: renew or remove that token"
        )
    return method


def why_no_login(printed: str) -> str:
    """Say which credentials were found and not taken."""
    from kagglesdk import get_access_token_from_env

    token, source = get_access_token_from_env()
    if token:
        return f"the access token of {source} is stale or mistyped"
    if "Invalid credentials" in printed:
        return "the login of `kaggle auth login` has expired"
    config = Path(client_api().config)
    if config.exists():
        return f"{config} is there, but is not JSON with `username` and `key`"
    return "no credentials"


def limits(slug: str) -> dict[str, int]:
    """Return how many submissions were made today and ever, and how many are still allowed."""
    answer = client_api().competition_get_submission_limits(slug)
    return {
        "today": int(answer.num_today),
        "total": int(answer.num_total),
        "allowed_now": int(answer.num_allowed_now),
    }


class _AsJson:
    """Stands for a type of the client, whose own fail at a word or a date they do not know."""

    @staticmethod
    def prepare_from(response: Any) -> Any:  # noqa: ANN401  requests.Response
        return response.json()


def submissions(slug: str, page: int) -> list[dict[str, str]]:
    """Return one page of the account's submissions, newest first: the texts of `FIELDS`."""
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    request = ApiListSubmissionsRequest()
    request.competition_name = slug
    request.page, request.page_size = page, PAGE_SIZE
    with new_client() as client:
        answer = client.http_client().call(
            "competitions.CompetitionApiService", "ListSubmissions", request, _AsJson
        )
    return [
        {name: "" if one.get(name) is None else str(one[name]) for name in FIELDS}
        for one in answer.get("submissions") or []
    ]


def start_upload(slug: str, path: str) -> dict[str, str]:
    """Announce a file; return the address to put it to and the token that stands for it."""
    from kagglesdk.competitions.types.competition_api_service import ApiStartSubmissionUploadRequest

    request = ApiStartSubmissionUploadRequest()
    request.competition_name = slug
    request.file_name = Path(path).name
    request.content_length = Path(path).stat().st_size
    request.last_modified_epoch_seconds = int(Path(path).stat().st_mtime)
    with new_client() as client:
        answer = client.competitions.competition_api_client.start_submission_upload(request)
    return {"url": answer.create_url, "token": answer.token}


def put(path: str, url: str) -> None:
    """Send the file.

    Raises:
        ConnectionError: It did not arrive; the client itself only prints why.
    """
    from kaggle.models.kaggle_models_extended import ResumableUploadResult

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = client_api().upload_complete(path, url, True)
    if result != ResumableUploadResult.COMPLETE:
        reason = printed.getvalue().strip() or "the storage refused it"
        raise ConnectionError(f"the file did not arrive ({reason})")


def create(slug: str, token: str, description: str) -> int:
    """Make a submission of the file behind `token`; return its reference."""
    from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

    request = ApiCreateSubmissionRequest()
    request.competition_name = slug
    request.blob_file_tokens = token
    request.submission_description = description
    with new_client() as client:
        answer = client.competitions.competition_api_client.create_submission(request)
    return int(answer.ref)
