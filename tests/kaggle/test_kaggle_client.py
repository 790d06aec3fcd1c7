import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import KEY, SLUG, TOKEN, USER, KaggleServer, drop, page, reply, silence
from waiting import running, wait_until

from pipeline.kaggle.client import KaggleClient, Patience
from pipeline.kaggle.failures import KaggleError
from pipeline.kaggle.listing import fetch_scores

pytestmark = pytest.mark.contract


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def legacy(user: str = USER, key: str = KEY) -> str:
    return json.dumps({"username": user, "key": key})


@pytest.mark.parametrize(
    ("files", "variables"),
    [
        ({}, {"KAGGLE_API_TOKEN": TOKEN}),
        ({"elsewhere/token": TOKEN}, {"KAGGLE_API_TOKEN": "{home}/elsewhere/token"}),
        ({".kaggle/access_token": TOKEN}, {}),
        ({".kaggle/access_token.txt": TOKEN}, {}),
        ({}, {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}),
        ({".kaggle/kaggle.json": legacy()}, {}),
        ({".config/kaggle/kaggle.json": legacy()}, {}),
        ({"xdg/kaggle/kaggle.json": legacy()}, {"XDG_CONFIG_HOME": "{home}/xdg"}),
        ({"mine/kaggle.json": legacy()}, {"KAGGLE_CONFIG_DIR": "{home}/mine"}),
        (
            {
                ".kaggle/credentials.json": json.dumps(
                    {
                        "refresh_token": "refresh",
                        "access_token": TOKEN,
                        "access_token_expiration": "2999-01-01T00:00:00+00:00",
                        "username": USER,
                    }
                )
            },
            {},
        ),
    ],
)
@pytest.mark.usefixtures("bare_server")
def test_credentials_are_found_wherever_kaggle_documents_them(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience: Patience,
    files: dict[str, str],
    variables: dict[str, str],
) -> None:
    for name, text in files.items():
        put(home / name, text)
    for name, text in variables.items():
        monkeypatch.setenv(name, text.format(home=home))
    before = dict(os.environ)
    assert fetch_scores(SLUG, patience=patience) == []
    assert dict(os.environ) == before


def test_without_credentials_the_ways_to_give_them_are_named(
    bare_server: KaggleServer, patience: Patience, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KaggleError, match=r"no credentials.*KAGGLE_API_TOKEN.*kaggle\.json"):
        fetch_scores(SLUG, patience=patience)
    assert capfd.readouterr() == ("", "")
    assert not bare_server.calls


def test_an_unreadable_credentials_file_is_named(
    bare_server: KaggleServer, home: Path, patience: Patience
) -> None:
    put(home / ".kaggle/kaggle.json", "{username: someone")
    with pytest.raises(KaggleError, match=r"home/\.kaggle/kaggle\.json is there, but is not JSON"):
        fetch_scores(SLUG, patience=patience)


@pytest.mark.parametrize("key_too", [False, True])
def test_a_stale_token_is_named_even_if_it_hides_a_good_key(
    bare_server: KaggleServer, home: Path, patience: Patience, key_too: bool
) -> None:
    put(home / ".kaggle/access_token", "old-token")
    if key_too:
        put(home / ".kaggle/kaggle.json", legacy())
    with pytest.raises(KaggleError, match=r"access_token is stale or mistyped") as caught:
        fetch_scores(SLUG, patience=patience)
    assert ("hides the key" in str(caught.value)) == key_too


@pytest.mark.usefixtures("bare_server")
@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN} x", f"{TOKEN}é"])
def test_a_token_that_cannot_be_one_is_told_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, patience: Patience, token: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(KaggleError, match="token of KAGGLE_API_TOKEN holds a blank") as caught:
        fetch_scores(SLUG, patience=patience)
    assert TOKEN not in str(caught.value)


def test_a_stale_key_is_named(bare_server: KaggleServer, home: Path, patience: Patience) -> None:
    put(home / ".kaggle/kaggle.json", legacy(key="old-key"))
    with pytest.raises(KaggleError, match=r"HTTP 401: Unauthenticated.*stale or mistyped"):
        fetch_scores(SLUG, patience=patience)


def test_a_mistyped_slug_is_told_with_the_page_that_must_open(
    server: KaggleServer, patience: Patience
) -> None:
    with pytest.raises(
        KaggleError, match=r"slug `airbus-ship` is mistyped: https://\S+/airbus-ship"
    ):
        fetch_scores("airbus-ship", patience=patience)


def test_an_unknown_slug_is_told(server: KaggleServer, patience: Patience) -> None:
    server.fail("ListSubmissions", reply(404, "Competition not found"))
    with pytest.raises(KaggleError, match="knows no competition `airbus-ship-detection`"):
        fetch_scores(SLUG, patience=patience)


def test_unaccepted_rules_are_told_with_the_page_of_the_rules(
    server: KaggleServer, patience: Patience
) -> None:
    server.joined = False
    with pytest.raises(KaggleError, match=r"must accept.*airbus-ship-detection/rules"):
        fetch_scores(SLUG, patience=patience)


def test_failures_that_pass_are_tried_again(server: KaggleServer, patience: Patience) -> None:
    for fault in (reply(429, "", {"Retry-After": "0.1"}), reply(500), page(503, "<p>down"), drop):
        server.fail("ListSubmissions", fault)
    assert fetch_scores(SLUG, patience=replace(patience, attempts=5)) == []
    assert server.calls["ListSubmissions"] == 5


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (reply(429, "slow down"), "limits the rate"),
        (reply(503, "maintenance"), "HTTP 503: maintenance.*in trouble"),
        (drop, "Check the network, the proxy"),
    ],
)
def test_a_lasting_failure_ends_after_a_bounded_number_of_tries(
    server: KaggleServer, patience: Patience, fault: object, told: str
) -> None:
    server.fail("ListSubmissions", fault, times=100)
    with pytest.raises(KaggleError, match=told):
        fetch_scores(SLUG, patience=patience)
    assert server.calls["ListSubmissions"] == patience.attempts


def test_a_pause_that_is_too_long_is_not_waited_for(
    server: KaggleServer, patience: Patience
) -> None:
    server.fail("ListSubmissions", reply(429, "come back", {"Retry-After": "3600"}))
    with pytest.raises(KaggleError, match="wait a few minutes"):
        fetch_scores(SLUG, patience=patience)
    assert server.calls["ListSubmissions"] == 1


def test_an_answer_that_is_not_the_protocol_is_told(
    server: KaggleServer, patience: Patience
) -> None:
    server.fail("ListSubmissions", page(200, "<html>Please log in to the hotel's network"))
    with pytest.raises(KaggleError, match="changed the answer"):
        fetch_scores(SLUG, patience=patience)


@pytest.mark.parametrize("call", ["IntrospectToken", "ListSubmissions"])
def test_silence_ends_at_the_deadline(server: KaggleServer, patience: Patience, call: str) -> None:
    server.fail(call, silence, times=100)
    quick = replace(patience, call_s=1.2, attempts=2)
    started = time.monotonic()
    with pytest.raises(KaggleError, match=r"no answer within 1\.2 s.*status\.kaggle\.com"):
        fetch_scores(SLUG, patience=quick)
    assert time.monotonic() - started < 6


def test_nobody_listening_is_told(
    server: KaggleServer, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(KaggleError, match="Check the network"):
        fetch_scores(SLUG, patience=patience)


def test_a_worker_that_dies_is_told(server: KaggleServer, patience: Patience) -> None:
    with KaggleClient(SLUG, patience) as kaggle:
        assert kaggle.call("submissions", "listing", slug=SLUG, page=1) == []
        kaggle._worker.kill()
        with pytest.raises(KaggleError, match="ended with code -9"):
            kaggle.call("submissions", "listing", slug=SLUG, page=1)
        assert kaggle.call("submissions", "listing", slug=SLUG, page=1) == []


def test_a_worker_ends_with_its_owner_even_while_it_waits(
    server: KaggleServer, patience: Patience
) -> None:
    server.fail("ListSubmissions", silence)
    kaggle = KaggleClient(SLUG, patience)
    kaggle.call("limits", "asking", slug=SLUG)
    worker = kaggle._worker
    order = {"name": "submissions", "arguments": {"slug": SLUG, "page": 1}}
    worker.stdin.write(json.dumps(order) + "\n")
    worker.stdin.close()
    assert worker.wait(timeout=5) == 0


OWNER = """
import os, time
from pipeline.kaggle.client import KaggleClient
kaggle = KaggleClient("airbus-ship-detection")
kaggle.call("limits", "asking", slug=kaggle.slug)
if os.fork() == 0:  # a loader process, which keeps the worker's standard input open
    time.sleep(20)
    os._exit(0)
print(kaggle._worker.pid, flush=True)
kaggle.call("submissions", "listing", slug=kaggle.slug, page=1)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_an_owner_that_is_killed(server: KaggleServer, sent: int) -> None:
    server.fail("ListSubmissions", silence)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    worker = int(owner.stdout.readline())
    wait_until(lambda: server.calls["ListSubmissions"] == 1, within_s=20)
    owner.send_signal(sent)
    owner.wait()
    wait_until(lambda: not running(worker), within_s=5)
    os.killpg(owner.pid, signal.SIGKILL)  # the loader process
