"""What is kept of a submission: its copy, and the version of the code that made it."""

import logging
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import sha256_file
from pipeline.kaggle.code_version import code_version
from pipeline.s6_submit import _keep

pytestmark = pytest.mark.unit


def git(folder: Path, *arguments: str) -> str:
    user = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", "-C", folder, *user, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one commit."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    folder = tmp_path / "checkout"
    for name in ("pipeline/code.py", "submissions/ledger.csv", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("before")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def test_an_unchanged_checkout_gives_its_commit(
    checkout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("submissions/ledger.csv", "submissions/new.csv", "notes.txt"):
        (checkout / name).write_text("after")
    assert code_version(checkout) == git(checkout, "rev-parse", "HEAD")
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["README.md", "pipeline/code.py", "pipeline/more.py"])
def test_a_changed_checkout_is_told(
    checkout: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (checkout / name).write_text("after")
    assert code_version(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"
    assert f"-dirty, since the code differs from it: {name}\n" in caplog.text


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"), "dubious ownership in repository"),
        (("PATH", ""), "No such file or directory: 'git'"),
    ],
)
def test_a_checkout_that_git_does_not_read_is_unknown(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: tuple[str, str],
    told: str,
) -> None:
    monkeypatch.setenv(*variable)
    assert code_version(checkout) == "unknown"
    assert told in caplog.text
    assert len(caplog.records) == 1
    assert "\n" not in caplog.messages[0]


def test_outside_of_a_checkout_there_is_no_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert code_version(tmp_path) == ""
    assert caplog.text == ""


@pytest.mark.parametrize("change", [lambda text: text[:-5], lambda text: text.replace("2", "3")])
def test_a_copy_that_was_changed_is_neither_used_nor_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object
) -> None:
    monkeypatch.chdir(tmp_path)
    submission = tmp_path / "submission.csv"
    submission.write_text("ImageId,EncodedPixels\na.jpg,1 2\n")
    kept = _keep(submission, "run")
    assert kept.read_bytes() == submission.read_bytes()
    assert kept.name == f"run-{sha256_file(submission)[:8]}.csv"
    assert _keep(submission, "run") == kept
    changed = change(kept.read_text())
    kept.write_text(changed)
    with pytest.raises(ArtifactError, match=r"run-\w{8}\.csv: expected a copy .* Move it away"):
        _keep(submission, "run")
    assert kept.read_text() == changed
