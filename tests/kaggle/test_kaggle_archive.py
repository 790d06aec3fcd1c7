import errno
import io
import shutil
import zipfile
from pathlib import Path

import pytest
from archives import LAYOUT, make_archive

from pipeline.errors import DataError
from pipeline.jobs.lock import Lock
from pipeline.kaggle import archive as module
from pipeline.kaggle import download
from pipeline.kaggle.archive import archive_defect, extract_archive
from pipeline.kaggle.download import download_competition

pytestmark = pytest.mark.unit
SLUG = "some-competition"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / f"{SLUG}.zip"
    path.write_bytes(make_archive(bytes_each=5000))
    return path


def fetch(root: Path) -> None:
    download_competition(root, slug=SLUG, layout=LAYOUT, keep_archive=True)


def test_a_whole_archive_has_no_defect(path: Path) -> None:
    assert archive_defect(path) == ""


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_is_read_and_its_damage_found(path: Path, method: int) -> None:
    whole = make_archive(bytes_each=5000, method=method)
    path.write_bytes(whole)
    fetch(path.parent / "root")
    assert (path.parent / "root" / "truth.csv").stat().st_size == 5000
    for place in range(100, 5000, 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert "1 of 8 members cannot be unpacked, the first: 'train_v2/0" in archive_defect(path)


def test_an_error_of_the_machine_is_no_defect(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", broken)
    with pytest.raises(DataError, match=r"cannot be written or read .*Input/output error"):
        fetch(path.parent / "root")
    assert path.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "holds no file"),
        (["folder/"], "holds no file"),
        (["a", "b", "a"], "member 'a' is in it twice"),
        (["a/b", "./a//b"], "member './a//b' is in it twice"),
        (["a", "a/"], "member 'a' is a file and a folder"),
        (["a/", "a"], "member 'a' is a file and a folder"),
        (["a/b/c", "a"], "member 'a' is a file and a folder"),
        (["é" * 128], "has too long a name"),
        (["a/" * 1100 + "b"], "has too long a name"),
    ],
)
def test_names_that_one_folder_cannot_hold_are_a_defect(
    tmp_path: Path, names: list[str], told: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    assert told in archive_defect(tmp_path / "a.zip")


def test_every_changed_byte_of_the_content_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(100, len(whole) - 1500, 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert archive_defect(path), place


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_every_truncation_is_found(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "not a whole zip archive" in archive_defect(path)


@pytest.mark.parametrize("name", ["../escaped.csv", "/etc/escaped", "a/../../b"])
def test_a_member_that_leaves_the_folder_is_a_defect(tmp_path: Path, name: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "x")
    (tmp_path / "a.zip").write_bytes(file.getvalue())
    assert "outside of the folder" in archive_defect(tmp_path / "a.zip")


def test_a_killed_extraction_leaves_no_folder_and_is_repeated(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, original, done = tmp_path / "root", module._extract, []

    def killed(*arguments: object) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(arguments)
        original(*arguments)

    monkeypatch.setattr(module, "_extract", killed)
    with pytest.raises(KeyboardInterrupt):
        extract_archive(path, root, LAYOUT)
    assert not root.exists()
    monkeypatch.undo()
    extract_archive(path, root, LAYOUT)
    assert sorted(child.name for child in root.iterdir()) == sorted(n.strip("/") for n in LAYOUT)
    assert not (tmp_path / ".root.unfinished").exists()


def test_an_archive_of_another_competition_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{SLUG}.zip").write_bytes(make_archive(("titanic.csv",), 10))
    with pytest.raises(DataError, match=r"not there: train_v2/.*found titanic\.csv"):
        fetch(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_an_archive_put_there_by_hand_is_used(path: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "root")
    assert (tmp_path / "root" / "truth.csv").stat().st_size == 5000
    assert path.exists()


def test_a_damaged_archive_put_there_by_hand_is_left_to_the_user(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="Delete it and run the same command again"):
        fetch(path.parent / "root")
    assert path.exists()


def test_unpacking_needs_the_disk_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=40_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"unpacking some-competition\.zip needs"):
        fetch(path.parent / "root")


def test_a_folder_with_something_else_in_it_is_not_touched(path: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "train_v2").mkdir(parents=True)
    with pytest.raises(DataError, match=r"but not test_v2/, truth\.csv, sample\.csv"):
        fetch(tmp_path / "root")


def test_a_second_download_waits_for_the_first_and_finds_what_it_brought(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    class First(Lock):
        def take(self, **kind: bool) -> Lock:
            order.append(kind)
            extract_archive(path, tmp_path / "root", LAYOUT)
            path.unlink()
            return super().take(**kind)

    monkeypatch.setattr(download, "Lock", First)
    fetch(tmp_path / "root")
    assert order == [{"wait": True}]
    assert (tmp_path / "root" / "truth.csv").stat().st_size == 5000


def test_folders_that_are_packed_on_their_own_are_unpacked(tmp_path: Path) -> None:
    layout = ("train/images/", "test/images/", "train.csv")
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", "id,rle_mask\n")
        archive.writestr("train.zip", make_archive(("images/", "masks/"), 10))
        archive.writestr("test.zip", make_archive(("images/",), 10))
        archive.writestr("more.zip", b"no archive, and none of the layout")
    extract_archive(path, tmp_path / "root", layout)
    names = {child.name for child in (tmp_path / "root").iterdir()}
    assert names == {"train", "test", "train.csv", "more.zip"}
    assert len([*(tmp_path / "root" / "train" / "masks").iterdir()]) == 3
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("far.zip", make_archive(("images/",), 10)[:-30])
    with pytest.raises(DataError, match=r"far\.zip in it: not a whole zip archive"):
        extract_archive(path, tmp_path / "other", (*layout, "far/images/"))
