import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from archives import LAYOUT, make_archive
from kaggle_server import (
    SLUG,
    KaggleServer,
    cut,
    drop,
    flipped,
    honest,
    page,
    reply,
    silence,
    swapped,
)

from pipeline.errors import DataError
from pipeline.kaggle.client import Patience
from pipeline.kaggle.download import download_competition
from pipeline.kaggle.failures import KaggleError

pytestmark = pytest.mark.contract


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "airbus"


def fetch(root: Path, patience: Patience, *, keep_archive: bool = False) -> None:
    download_competition(
        root, slug=SLUG, layout=LAYOUT, keep_archive=keep_archive, patience=patience
    )


def assert_complete(root: Path, server: KaggleServer) -> None:
    with zipfile.ZipFile(io.BytesIO(server.archive)) as archive:
        for name in archive.namelist():
            assert (root / name).read_bytes() == archive.read(name)
    assert left_in(root.parent) - {f"{SLUG}.zip"} == {root.name}


def left_in(folder: Path) -> set[str]:
    """Return the names of all files but the lock."""
    return {path.name for path in folder.iterdir()} - {f".{SLUG}.lock"}


@pytest.mark.parametrize("keep", [True, False])
def test_an_empty_disk_becomes_the_competition(
    server: KaggleServer, root: Path, patience: Patience, keep: bool
) -> None:
    fetch(root, patience, keep_archive=keep)
    assert_complete(root, server)
    assert (root.parent / f"{SLUG}.zip").exists() == keep
    calls = server.calls.copy()
    fetch(root, patience)
    assert server.calls == calls


def test_a_link_to_another_disk_is_followed(
    server: KaggleServer, root: Path, tmp_path: Path, patience: Patience
) -> None:
    (tmp_path / "large" / "airbus").mkdir(parents=True)
    root.parent.mkdir()
    root.symlink_to(tmp_path / "large" / "airbus")
    fetch(root, patience)
    assert root.is_symlink()
    assert_complete(tmp_path / "large" / "airbus", server)


@pytest.mark.parametrize("then", [drop, silence])
def test_a_broken_download_goes_on_where_it_was(
    server: KaggleServer, root: Path, patience: Patience, then: object
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000, then=then))
    server.fail("resume", cut(300_000, then=then))
    fetch(root, replace(patience, stall_s=1.2))
    assert_complete(root, server)
    assert server.calls["resume"] == 2


def test_a_line_may_break_any_number_of_times_if_it_brings_something_in_between(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(300_000))
    server.fail("resume", cut(300_000), times=2 * patience.attempts)
    fetch(root, patience)
    assert_complete(root, server)
    assert server.calls["resume"] > patience.attempts


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000))
    server.fail("DownloadDataFiles", honest, times=2)
    server.fail("DownloadDataFiles", reply(503, "down"), times=3)
    with pytest.raises(KaggleError, match=r"HTTP 503: down.*run the same command again"):
        fetch(root, patience)
    assert (root.parent / f"{SLUG}.zip.partial").stat().st_size >= 1_000_000
    assert not root.exists()
    fetch(root, patience)
    assert_complete(root, server)
    assert server.calls["resume"] == 1


def test_truncation_that_never_ends_is_bounded_and_keeps_what_came(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_100_000))
    server.fail("resume", cut(0), times=100)
    with pytest.raises(KaggleError, match="it resumes there"):
        fetch(root, patience)
    assert server.calls["resume"] == patience.attempts - 1
    assert not root.exists()


@pytest.mark.parametrize("error", [reply(403, "expired"), page(503, "<p>" + "busy " * 9999)])
def test_an_error_to_a_resume_is_never_written_into_the_archive(
    server: KaggleServer, root: Path, patience: Patience, error: object
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000))
    server.fail("resume", error, times=patience.attempts - 1)
    server.fail("resume", honest)
    with pytest.raises(KaggleError, match="the storage answered"):
        fetch(root, patience)
    there = (root.parent / f"{SLUG}.zip.partial").read_bytes()
    assert len(there) > 1_000_000
    assert server.archive.startswith(there)
    fetch(root, patience)
    assert_complete(root, server)


def test_a_resume_with_wrong_bytes_is_found_by_its_crc_and_fetched_once_more(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000))
    server.fail("resume", swapped)
    fetch(root, patience)
    assert_complete(root, server)


def test_an_archive_that_changed_meanwhile_is_fetched_from_its_start(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000))
    server.fail("DownloadDataFiles", honest, times=2)
    server.fail("DownloadDataFiles", reply(404, "gone"))
    with pytest.raises(KaggleError, match="gone"):
        fetch(root, patience)
    server.archive, server.etag = make_archive(bytes_each=310_000), '"v2"'
    fetch(root, patience)
    assert_complete(root, server)
    assert server.calls["resume"] == 0


def test_a_storage_that_cannot_resume_starts_over(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.ranges = False
    server.fail("GET", honest)
    server.fail("GET", cut(1_500_000))
    fetch(root, patience)
    assert_complete(root, server)


def test_an_archive_that_is_damaged_each_time_is_never_unpacked(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    middle = len(server.archive) // 2
    flipped = bytes([server.archive[middle] ^ 255])
    server.archive = server.archive[:middle] + flipped + server.archive[middle + 1 :]
    with pytest.raises(DataError, match=r"unusable each time \(1 of 8 members cannot be unpacked"):
        fetch(root, patience)
    assert left_in(root.parent) == set()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_archive_of_another_compression_is_fetched_anew(
    server: KaggleServer, root: Path, patience: Patience, method: int
) -> None:
    server.archive = make_archive(method=method)
    server.fail("GET", honest)
    server.fail("GET", flipped)
    fetch(root, patience)
    assert_complete(root, server)


def test_an_archive_without_a_file_is_told_and_not_kept(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.archive = make_archive(())
    with pytest.raises(DataError, match=r"unusable each time \(the archive holds no file\)"):
        fetch(root, patience)
    assert left_in(root.parent) == set()


def test_an_address_of_the_storage_that_expired_is_asked_for_anew(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.fail("GET", page(403, "<Code>ExpiredToken"), times=2)
    fetch(root, patience)
    assert_complete(root, server)


def test_something_that_is_no_archive_is_told(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.archive = b"<html>sign in</html>" * 100
    with pytest.raises(DataError, match="not a whole zip archive"):
        fetch(root, patience)


def test_a_disk_that_is_too_small_is_told_before_a_byte_is_fetched(
    server: KaggleServer, root: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    for free, told in ((len(server.archive), "needs 5 MiB"), (10**9, "")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if told:
            with pytest.raises(DataError, match=told):
                fetch(root, patience)
            assert not (root.parent / f"{SLUG}.zip.partial").exists()
        else:
            fetch(root, patience)
            assert_complete(root, server)


def test_rules_that_are_not_accepted_are_told(
    server: KaggleServer, root: Path, patience: Patience
) -> None:
    server.joined = False
    with pytest.raises(KaggleError, match=r"downloading.*airbus-ship-detection/rules"):
        fetch(root, patience)


def test_a_folder_that_cannot_be_written_is_told(
    server: KaggleServer, tmp_path: Path, patience: Patience
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot be written.*point data\.root to another disk"):
        fetch(tmp_path / "file" / "airbus", patience)
