"""Bad data: each defect is named with its file or row, and nothing is dropped silently."""

import errno
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.competitions.airbus import COMPETITION as AIRBUS
from pipeline.data.catalog import Catalog
from pipeline.data.check import check_folder, check_test_folder
from pipeline.data.files import fingerprint, has_layout
from pipeline.data.images import read_image
from pipeline.data.signature_store import Seen
from pipeline.data.verify import verify_images
from pipeline.errors import ArtifactError, DataError
from pipeline.jobs.job import Job
from pipeline.masks.sizes import Sizes

pytestmark = pytest.mark.unit

SIZE = 40
HEADER = "ImageId,EncodedPixels\n"
ROWS = {
    "a.jpg": ["1 3 41 3"],
    "b.jpg": [""],
    "c.jpg": ["100 5", "200 5"],
    "d.jpg": [""],
    "e.jpg": [""],
}


def table(rows):
    return HEADER + "".join(f"{name},{text}\n" for name, texts in rows.items() for text in texts)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    for part, names in {"train_v2": ROWS, "test_v2": ["x.jpg", "y.jpg"]}.items():
        (folder / part).mkdir(parents=True)
        for name in names:
            image_hwc = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / part / name), image_hwc)
    (folder / "train_ship_segmentations_v2.csv").write_text(table(ROWS))
    (folder / "sample_submission_v2.csv").write_text(HEADER + "x.jpg,1 2\ny.jpg,1 2\n")
    return folder


def check(root, share=1.0):
    return check_folder(root, AIRBUS, root.parent / "memory.csv", max_bad_share=share, jobs=1)


WANTED = {"stage": "data", "fold": None, "seed": 0, "config": {}, "inputs": {}, "files": {}}


def reasons(quarantine):
    return {(row.ImageId, row.where): row.reason for row in quarantine.itertuples()}


def test_a_whole_folder_is_taken_whole(root, tmp_path):
    assert has_layout(root, AIRBUS)
    catalog, quarantine = check(root, share=0.0)
    assert quarantine.empty
    assert catalog.sizes == Sizes((SIZE, SIZE))
    assert catalog.train_ids == list(ROWS)
    assert catalog.objects()["c.jpg"] == ["100 5", "200 5"]
    assert catalog.objects()["b.jpg"] == []
    assert catalog.usable_test_ids == ["x.jpg", "y.jpg"]
    job = Job("data", None, tmp_path / "saved", WANTED)
    job.finish(catalog.save(job.folder, quarantine), {})
    loaded = Catalog.load(job.folder, Path("/moved"), AIRBUS)
    assert loaded.instances.equals(catalog.instances)
    assert loaded.test_ids == catalog.test_ids
    assert loaded.train_path("a.jpg") == Path("/moved/train_v2/a.jpg")


@pytest.mark.parametrize("name", ["instances.csv", "catalog.json"])
def test_what_was_edited_since_is_not_used(root, tmp_path, name):
    job = Job("data", None, tmp_path / "saved", WANTED)
    catalog, quarantine = check(root, share=0.0)
    job.finish(catalog.save(job.folder, quarantine), {})
    path = job.folder / name
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))  # of the same size
    with pytest.raises(ArtifactError, match=rf"{name}: damaged: expected SHA-256"):
        Catalog.load(job.folder, root, AIRBUS)


@pytest.mark.parametrize(
    "part", ["train_v2", "test_v2", "train_ship_segmentations_v2.csv", "sample_submission_v2.csv"]
)
def test_a_missing_part_of_the_layout_is_named(root, part):
    path = root / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=f"not there: {part}.*Point data.root"):
        fingerprint(root, AIRBUS)
    assert not has_layout(root, AIRBUS)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: expected the competition's files"):
        fingerprint(tmp_path / "nowhere", AIRBUS)


def test_the_fingerprint_follows_names_sizes_and_tables(root):
    before = fingerprint(root, AIRBUS)
    assert fingerprint(root, AIRBUS) == before
    with (root / "train_v2" / "a.jpg").open("ab") as file:
        file.write(b"x")
    (root / "sample_submission_v2.csv").write_text(HEADER + "x.jpg,\n")
    after = fingerprint(root, AIRBUS)
    changed = {part for part in before if after[part] != before[part]}
    assert changed == {"train_v2", "sample_submission_v2.csv"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (HEADER, "row"),
        ("ImageId,Pixels\na.jpg,\n", "EncodedPixels"),
    ],
)
def test_an_unusable_table_is_named(root, text, expected):
    (root / "train_ship_segmentations_v2.csv").write_text(text)
    with pytest.raises(DataError, match=rf"(?s)train_ship_segmentations_v2.csv.*{expected}"):
        check(root)


@pytest.mark.parametrize(
    "encoded",
    ["0 3", "5 -1", "5 0", "5", "5 3 7", f"{SIZE * SIZE} 2", "9 2 5 2", "5 3 6 3", "x 1", "1.5 2"],
)
def test_an_illegal_rle_puts_its_image_aside_with_its_row(root, encoded):
    rows = {**ROWS, "a.jpg": [encoded]}
    (root / "train_ship_segmentations_v2.csv").write_text(table(rows))
    catalog, quarantine = check(root)
    assert list(quarantine.ImageId) == ["a.jpg"]
    assert quarantine["where"][0] == "train_ship_segmentations_v2.csv row 2"
    assert "a.jpg" not in catalog.train_ids


@pytest.mark.parametrize(
    ("ships", "expected"),
    [
        (["100 5", "102 5"], "shares pixels"),
        (["100 5", "100 5"], "twice|duplicate|repeat"),
        (["100 5", ""], "(?i)blank"),
    ],
)
def test_rows_that_contradict_each_other_are_found(root, ships, expected):
    (root / "train_ship_segmentations_v2.csv").write_text(table({**ROWS, "c.jpg": ships}))
    catalog, quarantine = check(root)
    assert set(quarantine.ImageId) == {"c.jpg"}
    assert quarantine.reason.str.contains(expected).any()
    assert "c.jpg" not in catalog.train_ids


def test_bad_images_are_found_and_left_out(root):
    (root / "train_v2" / "a.jpg").unlink()
    whole = (root / "train_v2" / "b.jpg").read_bytes()
    (root / "train_v2" / "b.jpg").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(root / "train_v2" / "c.jpg"), np.zeros((SIZE, SIZE + 2, 3), np.uint8))
    (root / "test_v2" / "x.jpg").write_bytes(b"nothing")
    (root / "train_v2" / "extra.jpg").write_bytes(whole)
    catalog, quarantine = check(root)
    found = reasons(quarantine)
    assert found["a.jpg", "train_v2/a.jpg"] == "missing"
    assert "truncated" in found["b.jpg", "train_v2/b.jpg"]
    assert "expected 40x40 px like most, got 42x40" in found["c.jpg", "train_v2/c.jpg"]
    assert "not decodable" in found["x.jpg", "test_v2/x.jpg"]
    assert "no row in" in found["extra.jpg", "train_v2/extra.jpg"]
    assert catalog.train_ids == ["d.jpg", "e.jpg"]
    assert catalog.unusable_test_ids == ["x.jpg"]
    assert catalog.test_ids == ["x.jpg", "y.jpg"], "the submission must still name it"


def test_too_many_bad_images_stop_everything(root):
    (root / "train_v2" / "a.jpg").unlink()
    with pytest.raises(
        DataError, match=r"(?s)1 of 7 images .*max_bad_share=0.1.*  train_v2/a.jpg: missing\n"
    ):
        check(root, share=0.1)


def test_no_usable_image_is_an_error_whatever_the_share(root):
    shutil.rmtree(root / "train_v2")
    (root / "train_v2").mkdir()
    with pytest.raises(DataError, match=r"none of the 5 images"):
        check(root, share=1.0)


def test_verdicts_are_remembered_until_a_file_changes(root, tmp_path, monkeypatch):
    paths = sorted((root / "train_v2").iterdir())
    memory = tmp_path / "memory.csv"
    first = verify_images(paths, memory, jobs=1)
    monkeypatch.setattr("pipeline.data.signature_store._look", lambda *_: 1 / 0)
    assert verify_images(paths, memory, jobs=1).equals(first)
    monkeypatch.undo()
    paths[0].write_bytes(b"damaged")
    assert "not decodable" in verify_images(paths, memory, jobs=1).defect[0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-12],
        lambda content: b"",
        lambda content: b"a,b\n1,2\n",
        lambda content: content.replace(b"not decodable", b"\xff"),
        lambda content: content.replace(b",40,40,", b",x,40,", 1),
        lambda content: content.partition(b"not decodable")[0],
        lambda content: b"file,bytes,mtime_ns,height,width,defect\n" + content.partition(b"\n")[2],
    ],
)
def test_remembered_verdicts_that_were_damaged_are_made_again(root, tmp_path, spoil, caplog):
    (root / "train_v2" / "e.jpg").write_bytes(b"damaged")
    paths, memory = sorted((root / "train_v2").iterdir()), tmp_path / "memory.csv"
    first = verify_images(paths, memory, jobs=1)
    whole = memory.read_bytes()
    memory.write_bytes(spoil(whole))
    assert verify_images(paths, memory, jobs=1).equals(first)
    assert caplog.text.count("damaged, or of another version") == 1
    assert memory.read_bytes() == whole


def test_remembered_verdicts_that_cannot_be_read_are_made_again(root, monkeypatch, caplog):
    whole, read = check(root)[1], Path.read_bytes

    def fail(path):
        if path.name == "memory.csv":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert check(root)[1].equals(whole)
    assert "memory.csv: damaged, or of another version" in caplog.text


def test_an_error_of_the_system_stops_the_check_and_is_not_remembered(root, monkeypatch):
    read = Path.read_bytes

    def fail(path):
        if path.name == "c.jpg":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"train_v2/c\.jpg: cannot be read: Permission denied"):
        check(root)
    monkeypatch.undo()
    assert check(root)[1].empty


def test_a_missing_image_is_not_remembered(root, monkeypatch):
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path / "gone"))
    with pytest.raises(DataError, match=r"the first: a\.jpg: missing"):
        check(root)
    monkeypatch.undo()
    assert check(root)[1].empty


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("a\0.jpg", "control characters"),
        ("x" * 300, "49 bytes too long"),
        ("../train_v2/a.jpg", "not that of a file"),
        ("/etc/passwd", "not that of a file"),
        ("b.jpg/x", "missing"),
        (".", "not that of a file"),
    ],
)
def test_an_id_that_names_no_file_is_left_out_by_name(root, tmp_path, bad, reason):
    (root / "train_ship_segmentations_v2.csv").write_text(table({**ROWS, bad: [""]}))
    (root / "sample_submission_v2.csv").write_text(HEADER + f"x.jpg,1 2\n{bad},1 2\n")
    catalog, quarantine = check(root)
    assert quarantine[["ImageId", "split"]].to_numpy().tolist() == [[bad, "train"], [bad, "test"]]
    assert quarantine.reason.str.contains(reason).all()
    assert all(map(str.isprintable, quarantine["where"]))
    assert catalog.train_ids == list(ROWS)
    assert (catalog.test_ids, catalog.usable_test_ids) == (["x.jpg", bad], ["x.jpg"])
    job = Job("data", None, tmp_path / "saved", WANTED)
    job.finish(catalog.save(job.folder, quarantine), {})
    assert Catalog.load(job.folder, root, AIRBUS).unusable_test_ids == [bad]


def test_images_of_any_ending_without_a_row_are_told_but_hidden_files_are_not(root):
    for name in ("f.PNG", "g.tiff", "._a.jpg", ".DS_Store", "notes.txt", b"\xff.jpg"):
        (root / "train_v2" / os.fsdecode(name)).touch()
    for name in ("h.png/i.jpg", ".cache/a.jpg"):
        (root / "train_v2" / name).parent.mkdir()
        (root / "train_v2" / name).touch()
    catalog, quarantine = check(root)
    assert quarantine["where"].tolist() == [
        f"train_v2/{name}" for name in ("f.PNG", "g.tiff", "h.png/i.jpg", "'\\udcff.jpg'")
    ]
    catalog.save(root.parent / "saved", quarantine)


def test_the_share_counts_rows_and_files_alike_in_all_that_is_there(root):
    rows = {**ROWS, "a.jpg": ["0 3"], "b.jpg": ["5", "7"]}
    (root / "train_ship_segmentations_v2.csv").write_text(table(rows))
    (root / "train_v2" / "c.jpg").unlink()
    for number in range(6):
        (root / "train_v2" / f"{number}.jpg").touch()
    with pytest.raises(DataError, match=r"9 of 13 images cannot be used.*max_bad_share=0\.69"):
        check(root, share=0.69)
    assert check(root, share=0.7)[0].train_ids == ["d.jpg", "e.jpg"]
    assert check(root, share=1.0)[0].train_ids == ["d.jpg", "e.jpg"]


def test_a_turned_image_is_checked_and_read_as_it_stands(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in [*(root / "train_v2").iterdir(), *(root / "test_v2").iterdir()]:
        image = Image.new("RGB", (SIZE + 10, SIZE))
        image.save(path, exif=exif)
    catalog, _ = check(root)
    assert catalog.sizes == Sizes((SIZE + 10, SIZE))
    assert read_image(catalog.train_path("a.jpg"), SIZE + 10, SIZE).shape == (SIZE + 10, SIZE, 3)


def test_an_interrupted_verification_goes_on(root, tmp_path, monkeypatch):
    paths = sorted((root / "train_v2").iterdir())
    memory, seen = tmp_path / "memory.csv", []

    def interrupted(path, **_):
        seen.append(path)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return Seen(SIZE, SIZE, "")

    monkeypatch.setattr("pipeline.data.verify.REMEMBERED_AFTER", 2)
    monkeypatch.setattr("pipeline.data.signature_store.PART_IMAGES", 2)
    monkeypatch.setattr("pipeline.data.signature_store._look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_images(paths, memory, jobs=1)
    verify_images(paths, memory, jobs=1)
    assert seen[4:] == paths[2:]


def test_test_images_alone_are_judged_as_with_the_whole_folder(root, tmp_path):
    image = root / "test_v2" / "x.jpg"
    image.write_bytes(image.read_bytes()[:-100])
    whole, _ = check(root)
    for part in ("train_v2", "train_ship_segmentations_v2.csv"):
        path = root / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    memory = tmp_path / "other.csv"
    alone, quarantine = check_test_folder(
        root, AIRBUS, (SIZE, SIZE), memory, max_bad_share=0.5, jobs=1
    )
    assert alone.usable_test_ids == whole.usable_test_ids == ["y.jpg"]
    assert (alone.test_ids, alone.train_ids) == (whole.test_ids, [])
    assert quarantine["where"].tolist() == ["test_v2/x.jpg"]
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used.*(?s:.*)test_v2/x\.jpg"):
        check_test_folder(root, AIRBUS, (SIZE, SIZE), memory, max_bad_share=0.4, jobs=1)
    with pytest.raises(DataError, match=r"2 of 2 images.*(?s:.*)expected 41x40 px, got 40x40"):
        check_test_folder(root, AIRBUS, (SIZE, SIZE + 1), memory, max_bad_share=0.5, jobs=1)
    with pytest.raises(DataError, match=r"sample_submission_v2\.csv: missing"):
        check_test_folder(tmp_path, AIRBUS, (SIZE, SIZE), memory, max_bad_share=0.4, jobs=1)


def test_links_that_lead_nowhere_are_missing_images(root):
    (root / "train_v2" / "b.jpg").unlink()
    (root / "train_v2" / "b.jpg").symlink_to("nowhere.jpg")
    fingerprint(root, AIRBUS)
    assert reasons(check(root)[1])["b.jpg", "train_v2/b.jpg"] == "missing"


def test_a_table_that_is_no_file_is_named(root):
    (root / "sample_submission_v2.csv").unlink()
    os.mkfifo(root / "sample_submission_v2.csv")
    with pytest.raises(DataError, match=r"not there: sample_submission_v2\.csv"):
        fingerprint(root, AIRBUS)
