"""The process that holds the `kaggle` client: `python -m pipeline.kaggle.worker`.

One JSON order per line on standard input, one JSON reply per line on standard output. It exists
because the client has no timeouts, reads its configuration and calls the network when imported,
prints, and exits: here all of that ends with the process, which `pipeline.kaggle.client` kills at
a deadline. When its owner ends or closes standard input, the worker ends at once, in the middle of
a transfer too, so that it never writes into a file that another run resumes.
"""

import contextlib
import io
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TextIO

from pipeline.jobs.tasks import end_with_parent
from pipeline.kaggle.calls import (
    CredentialsError,
    create,
    limits,
    login,
    put,
    start_upload,
    submissions,
    why_no_login,
)
from pipeline.kaggle.publish_calls import (
    dataset_state,
    notebook_version,
    save_dataset,
    save_notebook,
    start_file,
)
from pipeline.kaggle.transfer import archive_size, fetch_archive

OPERATIONS: dict[str, Callable[..., Any]] = {
    "login": login,
    "limits": limits,
    "submissions": submissions,
    "start_upload": start_upload,
    "put": put,
    "create": create,
    "archive_size": archive_size,
    "fetch_archive": fetch_archive,
    "dataset_state": dataset_state,
    "start_file": start_file,
    "save_dataset": save_dataset,
    "notebook_version": notebook_version,
    "save_notebook": save_notebook,
}


def main() -> None:
    """Answer orders until the owner ends or closes standard input."""
    # A process that the owner has forked may keep standard input open.
    end_with_parent()
    # What the client prints must not mix with the replies, and its exit() closes sys.stdin.
    orders_in = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdin = io.StringIO()
    os.dup2(2, 1)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders_in, orders), daemon=True).start()
    while True:
        order = json.loads(orders.get())
        replies.write(json.dumps(_answer(order["name"], order["arguments"])) + "\n")
        replies.flush()


def _listen(orders_in: TextIO, orders: "queue.SimpleQueue[str]") -> None:
    for line in orders_in:
        orders.put(line)
    os._exit(0)


def _answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return {"value": OPERATIONS[name](**arguments)}
    except (Exception, SystemExit) as error:
        return {"failure": _failure(error, printed.getvalue())}


def _failure(error: BaseException, printed: str) -> dict[str, Any]:
    """Sort an exception of the client into a kind of `pipeline.kaggle.failures.Failure`."""
    import requests
    import urllib3

    if isinstance(error, CredentialsError | SystemExit):
        text = str(error) if isinstance(error, CredentialsError) else why_no_login(printed)
        return {"kind": "credentials", "text": text}
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _http_failure(error)
    # JSON that cannot be read is a RequestException too, and a RequestException is an OSError.
    if isinstance(error, ValueError):
        return {"kind": "unreadable", "text": f"the answer cannot be read ({_clean(error)})"}
    if isinstance(
        error,
        requests.RequestException | urllib3.exceptions.HTTPError | ConnectionError | TimeoutError,
    ):
        return {"kind": "network", "text": _clean(error)}
    if isinstance(error, OSError | ImportError):
        return {"kind": "local", "text": _clean(error)}
    return {"kind": "unreadable", "text": f"{type(error).__name__}: {_clean(error)}"}


def _http_failure(error: Any) -> dict[str, Any]:  # noqa: ANN401  requests.HTTPError
    if error.response.request.method == "GET":
        # Calls are POSTs. This is the storage behind a redirect, whose 403 is an address that has
        # expired and not a refusal by the competition: a new call brings a new address.
        return {"kind": "network", "text": f"the storage answered {_clean(error)}"}
    return {
        "kind": "http",
        # A gateway may wrap an error into a reply of its own: the graver of the two counts.
        "status": max(error.response.status_code, _code(error)),
        "text": _said(error),
        "retry_after_s": _retry_after_s(error.response.headers.get("Retry-After")),
    }


def _said(error: Any) -> str:  # noqa: ANN401  requests.HTTPError, imported lazily
    """Return what Kaggle's error body says, else what the status line says."""
    try:
        body = error.response.json()
        return str(body.get("message") or body.get("error") or _clean(error))[:500]
    except (ValueError, AttributeError):
        return _clean(error)


def _code(error: Any) -> int:  # noqa: ANN401  requests.HTTPError
    """Return the status that Kaggle's error body names, 0 for none."""
    try:
        return int(error.response.json()["code"])
    except (ValueError, TypeError, LookupError):
        return 0


def _clean(error: BaseException) -> str:
    """Leave out addresses and headers: an upload address is a permission, as a token is."""
    text = re.sub(r"(Bearer|Basic) \S+", r"\1 ...", str(error) or type(error).__name__)
    return re.sub(r"( for)? url: \S+", "", text)[:500]


def _retry_after_s(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


if __name__ == "__main__":
    main()
