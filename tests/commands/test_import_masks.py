"""What other tools labelled becomes data to train on: the same pixels, and nothing lost unsaid."""

import csv
import json
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.annotations import coco, cvat, labelme, png, yolo
from pipeline.annotations.annotation import Annotated
from pipeline.commands import import_masks
from pipeline.config.competitions import StandIn, competitions
from pipeline.config.load import load_config
from pipeline.data.check import check_folder
from pipeline.data.stand_in import render_stand_in
from pipeline.errors import ConfigError, DataError
from pipeline.jobs.run import Run
from pipeline.masks.instances import read_instances
from pipeline.masks.rle import encode_mask
from tests.all_stages import STAGES, run_stages

ROOT = Path(__file__).parents[2]
SHAPE = 40, 48
CLASSES = ("road", "roof")
WRITERS = {
    "coco": partial(coco.write, classes=CLASSES),
    "polygons": partial(coco.write, classes=CLASSES, polygons=True),
    "yolo": partial(yolo.write, classes=CLASSES),
    "labelme": labelme.write,
    "cvat": partial(cvat.write, classes=CLASSES),
    "png": partial(png.write, classes=CLASSES),
}
pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A rendered folder of images and its objects, of two classes."""
    root = tmp_path_factory.mktemp("drawn") / "data"
    stand_in = StandIn(shape=SHAPE, ending=".png", sizes=(0.1, 0.3), most=4)
    task = replace(competitions()["masks"], classes=CLASSES, stand_in=stand_in)
    render_stand_in(root, task, seed=0, train_tiles=12, test_tiles=2, empty_share=0.25)
    return root, [
        Annotated(
            root / "images" / image_id,
            *SHAPE,
            [pair for pair in zip(rows.ClassId, rows.EncodedPixels, strict=True) if pair[1]],
            "",
        )
        for image_id, rows in read_instances(root / "masks.csv").groupby("ImageId")
    ]


def run(*arguments):
    """Import with the command line's arguments."""
    import_masks.import_masks(import_masks.parser().parse_args([*map(str, arguments)]))


def rows(path):
    with path.open(newline="") as file:
        return sorted(csv.reader(file))


def rejected(out):
    """What was not taken, without its folder: file, item and reason."""
    with (out / "rejected.csv").open(newline="") as file:
        found = [*csv.DictReader(file)]
    assert all(one["advice"] for one in found)
    return [(Path(one["file"]).name, one["item"], one["reason"]) for one in found]


def through(form, images, root, folder, *options):
    """Write a form, import it, and return the folder that was made."""
    source, out = folder / form, folder / "out"
    source.mkdir()
    WRITERS[form](source, images, root=root)
    elsewhere = () if form == "yolo" else ("--images", root)
    labels = ("--labels", "instances") if form == "png" else ()
    run(source, *elsewhere, *labels, "--out", out, *options)
    return out


@pytest.mark.parametrize("form", WRITERS)
def test_what_is_written_in_a_form_comes_back(form, drawn, tmp_path):
    root, images = drawn
    out = through(form, images, root / "images", tmp_path)
    assert rows(out / "masks.csv") == rows(root / "masks.csv")
    assert rejected(out) == []
    for image in images:
        assert (out / "images" / image.path.name).read_bytes() == image.path.read_bytes()
    record = json.loads((out / "import.json").read_text())
    assert record["images"] == 12
    assert {n: o["taken"] for n, o in record["objects"].items()} == {
        name: sum(own == name for image in images for own, _ in image.objects) for name in CLASSES
    }
    config = load_config(out / "config.yaml", [])
    assert (config.data.root, config.own_data.classes) == (out, [*CLASSES])
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 1000


def squares(folder, name, *boxes, shape=(20, 30)):
    """An image with objects that are boxes: class, top, left, bottom, right."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise_hwc = np.random.default_rng(zlib.crc32(name.encode())).integers(
        0, 255, (*shape, 3), np.uint8
    )
    Image.fromarray(noise_hwc).save(path)
    objects = []
    for own, top, left, bottom, right in boxes:
        mask_hw = np.zeros(shape, np.uint8)
        mask_hw[top:bottom, left:right] = 1
        objects.append((own, encode_mask(mask_hw)))
    return Annotated(path, *shape, objects, "")


@pytest.fixture
def labelled(tmp_path):
    """Write COCO of some images, import it, and give the folder that was made."""
    folder = tmp_path / "source" / "images"

    def run_on(images, *options, classes=("a", "b"), change=lambda _: None):
        coco.write(folder.parent, images, root=folder, classes=classes)
        path = folder.parent / "annotations.json"
        known = json.loads(path.read_text())
        change(known)
        path.write_text(json.dumps(known))
        run(folder.parent, "--out", tmp_path / "out", *options)
        return tmp_path / "out"

    return folder, run_on


def test_shared_pixels_go_to_the_smaller_object_or_the_image_is_left_out(labelled, tmp_path):
    folder, run_on = labelled
    large, small, same = ("a", 0, 0, 10, 10), ("b", 2, 2, 5, 5), ("b", 2, 2, 5, 5)
    images = [squares(folder, "x.png", large, small, same), squares(folder, "y.png", large)]
    out = run_on(images)
    table = read_instances(out / "masks.csv").query("ImageId == 'x.png'")
    lengths = {
        name: sum(map(int, " ".join(own.EncodedPixels).split()[1::2]))
        for name, own in table.groupby("ClassId")
    }
    assert lengths == {"a": 91, "b": 9}
    record = json.loads((out / "import.json").read_text())
    assert (record["shared_px"], record["images_with_shared_pixels"]) == (18, 1)
    assert record["objects"]["b"]["hidden_by_smaller"] == 1


def test_an_image_whose_objects_share_pixels_can_be_left_out(labelled):
    folder, run_on = labelled
    boxes = ("a", 0, 0, 10, 10), ("b", 2, 2, 5, 5)
    images = [squares(folder, "x.png", *boxes), squares(folder, "y.png", *boxes[:1])]
    out = run_on(images, "--overlaps", "reject")
    assert [row[0] for row in rows(out / "masks.csv")] == ["ImageId", "y.png"]
    ((_, item, reason),) = rejected(out)
    assert item == "x.png"
    assert reason.endswith("1 and 2")
    record = json.loads((out / "import.json").read_text())
    assert {n: o["in_rejected_images"] for n, o in record["objects"].items()} == {"a": 1, "b": 1}


def test_whole_masks_unite_the_objects_of_a_class(labelled):
    folder, run_on = labelled
    boxes = ("a", 0, 0, 4, 2), ("a", 2, 0, 6, 2), ("b", 0, 0, 20, 1)
    images = [squares(folder, "x.png", *boxes), squares(folder, "y.png", *boxes[:1])]
    out = run_on(images, "--whole-masks", change=lambda known: crowd(known, 1))
    table = [["x.png", "a", "1 6 21 6"], ["x.png", "b", "1 20"]]
    assert rows(out / "masks.csv")[1:] == [*table, ["y.png", "a", "1 4 21 4"], ["y.png", "b", ""]]
    config = load_config(out / "config.yaml", [])
    assert (config.own_data.objects, config.task.metric) == (False, "dice")
    assert rejected(out) == []


def crowd(known, number):
    known["annotations"][number]["iscrowd"] = 1


def test_what_cannot_be_taken_is_listed_and_the_rest_counted(labelled):
    folder, run_on = labelled
    box = ("a", 0, 0, 4, 2)
    names = (
        "good.png",
        "gone.png",
        "broken.jpg",
        "other.png",
        "twice.png",
        "empty.png",
        "crowd.png",
    )
    images = [squares(folder, name, *[box] * (name != "empty.png")) for name in names]
    bad = squares(folder, "named.png", ("b", 0, 0, 3, 3), ("c,d", 5, 5, 9, 9))

    def change(known):
        twice = next(one for one in known["images"] if one["file_name"] == "twice.png")
        known["images"].append(twice | {"id": 99})
        of_crowd = next(n for n, one in enumerate(known["annotations"]) if one["image_id"] == 7)
        crowd(known, of_crowd)
        known["annotations"].append(
            {"id": 50, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 5]]}
        )
        known["annotations"].append(
            {"id": 51, "image_id": 1, "category_id": 9, "segmentation": [[9, 9, 9, 12, 12, 12]]}
        )
        for one in known["images"]:  # sizes may be left out
            del one["height"], one["width"]
        images[1].path.unlink()
        images[2].path.write_bytes(images[2].path.read_bytes()[:-100])
        Image.new("CMYK", (30, 20)).save(images[3].path, format="TIFF")

    out = run_on([*images, bad], classes=("a", "b", "c,d"), change=change)
    found = {(where, item): reason for where, item, reason in rejected(out)}
    expected = {
        ("annotations.json", "image 2, gone.png"): "no image gone.png in",
        ("broken.jpg", ""): "not decodable",
        ("other.png", ""): "photometric interpretation 5",
        ("twice.png", ""): "described 2 times",
        ("annotations.json", "annotation 6"): "iscrowd",
        ("annotations.json", "annotation 50"): "3 points or more, got 2",
        ("annotations.json", "annotation 51"): "category_id 9",
        ("annotations.json", "class 'c,d'"): "1 objects of class 'c,d', a name that no table holds",
    }
    assert found.keys() == expected.keys()
    assert {key: found[key] for key, reason in expected.items() if reason not in found[key]} == {}
    assert [row[0] for row in rows(out / "masks.csv")[1::2]] == [
        *("crowd.png", "empty.png", "good.png", "named.png")
    ]
    record = json.loads((out / "import.json").read_text())
    assert (record["images"], record["without_objects"], record["rejected"]) == (4, 2, 8)
    assert record["objects"]["a"] == {
        "read": 4,
        "left_out": 0,
        "hidden_by_smaller": 0,
        "in_rejected_images": 3,
        "taken": 1,
    }


def test_images_of_one_name_are_called_by_their_folders(labelled):
    folder, run_on = labelled
    box = ("a", 0, 0, 4, 2)
    images = [squares(folder, name, box) for name in ("x/1.png", "y/1.png", "y/2.png")]
    out = run_on(images, "--link")
    assert [row[0] for row in rows(out / "masks.csv")] == [
        "ImageId",
        "x/1.png",
        "y/1.png",
        "y/2.png",
    ]
    assert (out / "images" / "x" / "1.png").samefile(images[0].path)


def test_images_are_read_as_the_base_says(labelled, tmp_path):
    folder, run_on = labelled
    images = [squares(folder, f"{name}.png", ("a", 0, 0, 4, 2)) for name in "xyz"]
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(deep).save(images[0].path)
    base = tmp_path / "base.yaml"
    base.write_text(f"base: {ROOT}/configs/masks.yaml\ndata:\n  reading: {{range: [0, 60000]}}\n")
    out = run_on(images, "--base", base, "--test-share", "0.34")
    assert rejected(out) == []
    assert load_config(out / "config.yaml", []).data.reading.range == [0, 60000]


@pytest.mark.parametrize("by", ["scenes", "folders", "table"])
def test_a_test_is_held_out_by_whole_groups(by, labelled, tmp_path):
    folder, run_on = labelled
    boxes = [("a", 0, 0, 4, 2), ("b", 5, 5, 9, 9)]
    images = [
        squares(folder, f"{group}/{group}{n}.png", *boxes * (n % 2), shape=(64, 64))
        for group in "pqrstu"
        for n in range(4)
    ]
    for group in range(6) if by == "scenes" else ():  # the images of a folder show one place
        for image in images[4 * group + 1 : 4 * group + 4]:
            image.path.write_bytes(images[4 * group].path.read_bytes())
    (tmp_path / "groups.csv").write_text(
        "ImageId,group\n" + "".join(f"{i.path.name},{i.path.name[0]}\n" for i in images)
    )
    how = {"folders": ["--group-by-folder"], "table": ["--groups", tmp_path / "groups.csv"]}
    out = run_on(images, "--test-share", "0.34", *how.get(by, []))
    held = {path.name for path in (out / "test_images").iterdir()}
    assert len(held) == 8
    assert len({name[0] for name in held}) == 2
    assert {path.name for path in (out / "images").iterdir()} == {
        image.path.name for image in images
    } - held
    catalog, quarantine = check_folder(
        out, load_config(out / "config.yaml", []).task, tmp_path / "memory", max_bad_share=0, jobs=1
    )
    assert ({*catalog.test_ids}, len(quarantine)) == (held, 0)
    truth = rows(out / "hidden" / "test_truth.csv")
    assert sorted(rows(out / "masks.csv")[1:] + truth[1:]) == sorted(
        [image.path.name, name, dict(image.objects).get(name, "")]
        for image in images
        for name in "ab"
    )


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--labels", "binary"], ConfigError, "expected masks as pictures, got coco"),
        (["--as", "png"], ConfigError, "cannot be seen in them"),
        (["--as", "png", "--labels", "classes"], ConfigError, "such as 1=roof,2=road"),
        (["--classes", "a,c"], DataError, r"expected images with objects of c, got a \(1\)"),
        (["--base", "configs/demo.yaml"], ConfigError, "expected competition: masks, got airbus"),
        (["--images", "none"], ConfigError, "--images: .*none: expected a folder"),
        (["--group-by-folder"], ConfigError, "expected --test-share with it"),
        (["--test-share", "1"], ConfigError, "expected a share"),
        (["--test-share", "0.5"], DataError, "1 images form 1 groups"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(options, error, said, labelled, tmp_path):
    folder, run_on = labelled
    with pytest.raises(error, match=said):
        run_on([squares(folder, "x.png", ("a", 0, 0, 4, 2))], *options)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_form_that_is_not_plain_is_not_guessed(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        run(tmp_path / "none", "--out", tmp_path / "out")
    with pytest.raises(DataError, match=r"nothing of these.*\n  --as coco: a \.json"):
        run(tmp_path, "--out", tmp_path / "out")
    (tmp_path / "a.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "b.xml").write_text("<annotations></annotations>")
    with pytest.raises(DataError, match=r"a\.json: expected COCO's lists"):
        run(tmp_path, "--out", tmp_path / "out", "--as", "coco")
    with pytest.raises(DataError, match=r"got coco \(.*a\.json\), cvat \("):
        run(tmp_path, "--out", tmp_path / "out")


@pytest.mark.parametrize("form", WRITERS)
def test_what_was_imported_trains_to_a_report(form, tmp_path, monkeypatch):
    boxes = [("road", 10, 10, 40, 30), ("roof", 35, 40, 60, 62)]
    shapes = [(72, 80), (80, 72), (64, 64)]  # the last with a side of a crop
    images = [
        squares(tmp_path / "drawn", f"{n}.png", *boxes[: n % 3], shape=shapes[n // 3])
        for n in range(9)
    ]
    out = through(form, images, tmp_path / "drawn", tmp_path, "--test-share", "0.25")
    monkeypatch.chdir(tmp_path)
    tiny = ["crops.batch_size=4", "crops.per_epoch=4", "train.epochs=1", "predict.tta=none"]
    tiny += [f"{stage}.validation_images=1" for stage in ("train", "finetune")]
    tiny += ["calibrate.watershed=null", "calibrate.thresholds=[0.5]", "machine.threads=1"]
    made = Run(load_config(out / "config.yaml", tiny), restart=False)
    run_stages(made, [*STAGES, "s7_report"])
    assert (made.folder / "report" / "index.html").is_file()
    asked = {row[0] for row in rows(made.folder / "submit" / "submission.csv")[:-1]}
    assert asked == {path.name for path in (out / "test_images").iterdir()}
    assert 0 <= made.result("submit").manifest["metrics"]["test_ap"] <= 1
