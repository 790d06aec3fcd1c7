"""Calls to Kaggle that always end: with an answer, or with an error that says what to do.

The unmodified `kaggle` package works in a child process. A call has a deadline, after which the
child is killed; a transfer may take as long as it grows. Failures that pass (429, 5xx, a dropped
connection, silence) are tried again a bounded number of times.
"""

import json
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pipeline
from pipeline.jobs.tasks import PARENT
from pipeline.kaggle.failures import Failure, KaggleError, explain, printable

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")
POLL_S = 0.2
# These make the client print every request, credentials included.
NOISY_VARIABLES = ("VERBOSE", "VERBOSE_OUTPUT")


@dataclass(frozen=True)
class Patience:
    """How long to wait for what.

    Attributes:
        call_s: One call without a file.
        put_s: The upload of a file.
        stall_s: A download that does not grow.
        attempts: Tries of one call, and tries of a download that bring nothing.
        first_wait_s: Pause after the first failure; it doubles with each.
        longest_wait_s: No pause is longer; if Kaggle asks for more, the call fails at once.
        settle_s: How long to look for a submission whose reply was lost.
        trust_s: How old a submission of unknown fate must be before a list without it proves that
            it does not exist; only then is it sent again.
        poll_s: Pause between two looks for a score.
        score_s: How long a score may take.
    """

    call_s: float = 60.0
    put_s: float = 900.0
    stall_s: float = 120.0
    attempts: int = 6
    first_wait_s: float = 2.0
    longest_wait_s: float = 300.0
    settle_s: float = 60.0
    trust_s: float = 900.0
    poll_s: float = 15.0
    score_s: float = 1800.0


PATIENCE = Patience()


class KaggleClient:
    """A login to Kaggle for one purpose; use it in a `with` statement.

    Args:
        slug: The competition, or `USER/NAME` of a dataset or notebook, as in its address.
        patience: Deadlines and number of attempts.
    """

    def __init__(self, slug: str, patience: Patience = PATIENCE) -> None:
        self.slug = slug
        self.patience = patience
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> "KaggleClient":
        return self

    def __exit__(self, *error: object) -> None:
        self._kill()

    def call(
        self,
        name: str,
        doing: str,
        *,
        progress: Callable[[], int] | None = None,
        landed: Callable[[], bool] | None = None,
        **arguments: Any,  # noqa: ANN401  JSON values
    ) -> Any:  # noqa: ANN401  a JSON value
        """Call an operation of `pipeline.kaggle.worker`, again if a failure may pass.

        Args:
            name: The operation.
            doing: What it is for, in messages.
            progress: Bytes transferred so far; while they grow, the call may last.
            landed: Looks whether a call whose reply was lost took effect; it is not repeated then.
            arguments: Its arguments; the slug is one of them where the operation takes it.

        Returns:
            The answer; "" where the reply was lost and the call had `landed`.

        Raises:
            KaggleError: The last attempt failed.
        """

        def recovered(_failure: Failure) -> str | None:
            return "" if landed is not None and landed() else None

        return self.retried(
            doing,
            lambda: self.attempt(name, progress=progress, **arguments),
            recovered,
            progress=progress,
        )

    def retried(
        self,
        doing: str,
        attempt: Callable[[], Answer | Failure],
        recovered: Callable[[Failure], Answer | None] = lambda _failure: None,
        *,
        progress: Callable[[], int] | None = None,
    ) -> Answer:
        """Attempt until there is an answer, or a failure that will not pass.

        Args:
            doing: What it is for, in messages.
            attempt: Does it once.
            recovered: Asked after a failure that may have had its effect all the same; returns the
                answer that was lost, None if there is none.
            progress: Bytes transferred so far; while attempts bring some, they are not counted.

        Raises:
            KaggleError: The last attempt failed.
        """
        failed, brought = 0, progress() if progress else 0
        while True:
            answer = attempt()
            if not isinstance(answer, Failure):
                return answer
            if not answer.refused and (lost := recovered(answer)) is not None:
                LOG.warning(
                    "Kaggle, %s: the reply was lost (%s), the effect not", doing, answer.quote
                )
                return lost
            if progress and progress() > brought:
                failed, brought = 0, progress()
            failed += 1
            wait_s = self._wait_s(answer, failed)
            if wait_s is None:
                raise KaggleError(explain(answer, self.slug, doing))
            LOG.warning("Kaggle, %s: %s; again in %.0f s", doing, answer.quote, wait_s)
            time.sleep(wait_s)

    def upload(self, start: str, path: Path, doing: str, **arguments: Any) -> str:  # noqa: ANN401
        """Send a file to the storage, again if that fails: until it is named it counts for nothing.

        Args:
            start: The operation that announces it.
            path: The file.
            doing: What it is for, in messages.
            arguments: Further arguments of `start`.

        Returns:
            The token that stands for the file.

        Raises:
            KaggleError: It did not arrive.
        """

        def send() -> str | Failure:
            upload = self.call(start, doing, path=str(path), **arguments)
            answer = self.attempt("put", path=str(path), url=upload["url"])
            return answer if isinstance(answer, Failure) else str(upload["token"])

        return self.retried(doing, send)

    def _wait_s(self, failure: Failure, failed: int) -> float | None:
        """Return the pause after the `failed`-th failure in a row; None: do not try again."""
        asked_s = failure.retry_after_s or 0.0
        enough = failed >= self.patience.attempts or asked_s > self.patience.longest_wait_s
        if not failure.passing or enough:
            return None
        backoff_s = self.patience.first_wait_s * 2.0 ** (failed - 1)
        return max(asked_s, min(backoff_s, self.patience.longest_wait_s))

    def attempt(
        self,
        name: str,
        *,
        progress: Callable[[], int] | None = None,
        **arguments: Any,  # noqa: ANN401  JSON values
    ) -> Any:  # noqa: ANN401  a JSON value or a Failure
        """Call once; return the answer or a `Failure`."""
        if self._worker is None:
            self._worker = _start()
            login = self._ask("login", {}, self.patience.call_s, None)
            if isinstance(login, Failure):
                self._kill()
                return login
        deadline_s = {"put": self.patience.put_s, "fetch_archive": self.patience.stall_s}
        return self._ask(name, arguments, deadline_s.get(name, self.patience.call_s), progress)

    def _ask(
        self,
        name: str,
        arguments: dict[str, Any],
        deadline_s: float,
        progress: Callable[[], int] | None,
    ) -> Any:  # noqa: ANN401  a JSON value or a Failure
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            worker.stdin.write(json.dumps({"name": name, "arguments": arguments}) + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            return self._died()
        if not _readable(worker, deadline_s, progress):
            self._kill()
            return Failure("silent", f"no answer within {deadline_s:g} s")
        reply = worker.stdout.readline()
        if not reply:
            return self._died()
        answer = printable(json.loads(reply))
        return Failure(**answer["failure"]) if "failure" in answer else answer["value"]

    def _died(self) -> Failure:
        code = self._worker.wait() if self._worker else None
        self._kill()
        return Failure("local", f"the process that talks to Kaggle ended with code {code}")

    def _kill(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _start() -> "subprocess.Popen[str]":
    """Start a worker; it can import this package and nothing it prints is seen."""
    environment = {key: value for key, value in os.environ.items() if key not in NOISY_VARIABLES}
    environment[PARENT] = str(os.getpid())
    places = [str(Path(pipeline.__path__[0]).parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.kaggle.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment,
        start_new_session=True,  # Ctrl-C is for the owner, which then kills the worker
    )


def _readable(
    worker: "subprocess.Popen[str]", deadline_s: float, progress: Callable[[], int] | None
) -> bool:
    """Wait for a reply; with `progress`, the deadline counts from the last growth."""
    end = time.monotonic() + deadline_s
    bytes_before = -1
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        while (left_s := end - time.monotonic()) > 0:
            if selector.select(min(left_s, POLL_S) if progress else left_s):
                return True
            if progress and (bytes_now := progress()) != bytes_before:
                bytes_before = bytes_now
                end = time.monotonic() + deadline_s
    return False
