"""Atomic writes: a file is the old version or the whole new one, also when the disk is full."""

import errno

import pytest

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import read_json, sha256_file, write_atomic, write_json

pytestmark = pytest.mark.unit


def test_the_new_version_replaces_the_old_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert [found.name for found in path.parent.iterdir()] == ["file"]
    assert sha256_file(path).startswith("11507a0e2f5e")


@pytest.mark.parametrize("name", ["a", "x" * 244, "é" * 127])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    write_atomic(tmp_path / name, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"new")]


def test_writers_at_once_have_files_of_their_own(tmp_path):
    def write(file):
        file.write(b"outer")
        write_atomic(tmp_path / "file", b"inner")
        assert len({path.name for path in tmp_path.iterdir()}) == 2

    write_atomic(tmp_path / "file", write)
    assert (tmp_path / "file").read_bytes() == b"outer"


def half_then(error):
    def write(file):
        file.write(b"half")
        raise error

    return write


def test_a_failed_write_keeps_the_old_version(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(ValueError, match="boom"):
        write_atomic(path, half_then(ValueError("boom")))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, half_then(KeyboardInterrupt()))
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_said_and_keeps_the_old_version(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(ArtifactError, match=r"the disk is full \(\d+ MiB free\).*Free some space"):
        write_atomic(path, half_then(OSError(errno.ENOSPC, "No space left on device")))
    assert path.read_bytes() == b"old"


def test_json_round_trip_and_its_errors(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}
    with pytest.raises(ArtifactError, match=r"gone.json: missing"):
        read_json(tmp_path / "gone.json")
    (tmp_path / "half.json").write_text('{"x": ')
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        read_json(tmp_path / "half.json")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", float("nan"))


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "shared").mkdir()
    link = tmp_path / "ledger.csv"
    link.symlink_to(tmp_path / "shared" / "ledger.csv")
    write_atomic(link, b"row")
    assert link.is_symlink()
    assert (tmp_path / "shared" / "ledger.csv").read_bytes() == b"row"


def test_what_the_system_refuses_is_told_with_the_targets_name(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="Is a directory") as refused:
        write_atomic(tmp_path / "target", b"")
    assert refused.value.filename == str(tmp_path / "target")
