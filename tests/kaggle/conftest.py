import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import make_archive
from kaggle_server import TOKEN, KaggleServer

from pipeline.kaggle.client import Patience


@pytest.fixture
def patience() -> Patience:
    return Patience(
        call_s=20.0,
        put_s=5.0,
        stall_s=20.0,
        attempts=3,
        first_wait_s=0.02,
        longest_wait_s=2.0,
        settle_s=0.1,
        poll_s=0.05,
        score_s=10.0,
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without credentials."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def bare_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleServer]:
    """The server, and no credentials for it."""
    with KaggleServer(archive=make_archive()) as running:
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setenv("HTTP_PROXY", running.url)
        monkeypatch.setenv("http_proxy", running.url)
        yield running


@pytest.fixture
def server(bare_server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> KaggleServer:
    """The server, and a token for it."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    return bare_server
