"""Images of several sizes in one folder: each part as for every size alone, and a whole run."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import toy_training

from pipeline import s7_report
from pipeline.calibration.problem import Problem
from pipeline.calibration.search import image_sums
from pipeline.commands.predict_images import find_scenes, predict_scenes
from pipeline.config.competitions import Rle
from pipeline.config.load import load_config
from pipeline.data.catalog import SIZES, Catalog
from pipeline.data.check import check_folder
from pipeline.data.scenes import find_groups_by_size
from pipeline.data.tiles import ImageDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.inference import second_look
from pipeline.jobs.artifacts import read_json
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS, check_instances, read_instances, write_instances
from pipeline.masks.rle import encode_labels, encode_mask, parse_rows
from pipeline.masks.rle_forms import from_numbering, reorder, to_form, to_texts
from pipeline.masks.sizes import Sizes
from pipeline.metrics.matching import match_objects
from pipeline.metrics.registry import METRICS
from pipeline.metrics.summaries import summarise
from pipeline.package.build import build_package
from pipeline.package.contents import Package
from pipeline.package.model import Model
from pipeline.package.predict import predict_package
from pipeline.selection import workers
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation
from pipeline.training.validation import validate
from tests.all_stages import run_stages
from tests.test_all_competitions import TINY, precision_of_objects

ROOT = Path(__file__).parents[1]
SHAPES = [(40, 52), (72, 96), (96, 72), (131, 160), (64, 64)]
"""The first is smaller than a crop; two, a portrait and a landscape, have as many pixels."""


def discs(shape, count, random):
    """Labels of discs that may have grown together, int32 (h, w)."""
    mask_hw = np.zeros(shape, np.uint8)
    for _ in range(count):
        centre = [random.integers(6, side - 6).item() for side in shape[::-1]]
        cv2.circle(mask_hw, centre, 6, 1, -1)
    return cv2.connectedComponents(mask_hw)[1]


def rows_of(name, labels_hw):
    return [(name, text) for text in encode_labels(labels_hw) or [""]]


def table(rows):
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


@pytest.fixture(scope="module")
def labels():
    """Labels of 25 images whose sizes take turns, by their names."""
    random = np.random.default_rng(1)
    return {f"{n:02}.png": discs(SHAPES[n % 5], n % 4, random) for n in range(25)}


@pytest.fixture(scope="module")
def sizes(labels):
    return Sizes.of_each({name: labels_hw.shape for name, labels_hw in labels.items()}, (0, 0))


def of_size(names, sizes, shape):
    return [name for name in names if sizes[name] == shape]


@pytest.mark.unit
def test_an_image_is_held_to_its_own_size(labels, sizes):
    rows = [row for name, each_hw in labels.items() for row in rows_of(name, each_hw)]
    assert check_instances(table(rows), sizes, "here") == []
    beyond = table([*rows, ("05.png", f"{40 * 52} 2"), ("01.png", f"{72 * 96} 1"), ("x", "9999 1")])
    (defect,) = check_instances(beyond, sizes, "here")
    assert defect.image_id == "05.png"
    assert "beyond the image of 40x52 = 2080 pixels" in defect.reason


@pytest.mark.unit
def test_masks_along_the_rows_turn_by_their_own_size(labels):
    masks = [(labels_hw > 0).astype(np.uint8) for labels_hw in labels.values()]
    own, shapes = [*map(encode_mask, masks)], np.array([mask_hw.shape for mask_hw in masks])
    along_rows = Rle(order="rows", first=0)
    texts = to_form(own, along_rows, shapes)
    assert from_numbering(texts, along_rows) == [encode_mask(mask_hw.T) for mask_hw in masks]
    runs, owners = reorder(*parse_rows(from_numbering(texts, along_rows), *shapes.T), shapes)
    assert to_texts(runs, owners, len(own), Rle()) == own


@pytest.mark.unit
@pytest.mark.parametrize("key", METRICS)
def test_scores_and_what_rules_find_are_those_of_each_size_alone(labels, sizes, key):
    metric, random = METRICS[key], np.random.default_rng(2)
    maps, true, found = {}, {}, {}
    for name, labels_hw in labels.items():
        moved_hw = np.roll(labels_hw, random.integers(3), 0)
        noise_hw = random.integers(0, 60, labels_hw.shape)
        maps[name] = ImageMaps(np.where(moved_hw > 0, 180, noise_hw).astype(np.uint8))
        true[name], found[name] = rows_of(name, labels_hw), rows_of(name, moved_hw)

    def scored(names, sizes):
        truth, predicted = (table([row for n in names for row in of[n]]) for of in (true, found))
        return truth, match_objects(truth, predicted, sizes, metric)

    def sums(names, truth, sizes):
        cut, of_names = Separation("components", 128, 8), [(n, i % 2, maps[n]) for i, n in names]
        with workers.workers(1) as those:
            measured = Problem(of_names, truth, sizes, 60, those).measure([cut], metric)
        rules = Rules(cut, 20, 100, 30)
        parts = image_sums(measured, rules), measured.n_true, measured.true_px
        return dict(zip(measured.image_ids, zip(*parts, strict=True), strict=True))

    truth, mixed = scored(labels, sizes)
    terms = mixed.images.assign(one=mixed.terms[0], other=mixed.terms[1]).set_index("ImageId")
    together = sums([*enumerate(labels)], truth, sizes)
    for shape in SHAPES:
        names = of_size(labels, sizes, shape)
        some, alone = scored(names, Sizes(shape))
        expected = alone.images.assign(one=alone.terms[0], other=alone.terms[1])
        pd.testing.assert_frame_equal(terms.loc[names], expected.set_index("ImageId"))
        for name, each in sums([*enumerate(names)], some, Sizes(shape)).items():
            for own, other in zip(each, together[name], strict=True):
                np.testing.assert_array_equal(own, other)
    if not metric.of_objects:
        shares = [(each > 0).mean() for each in labels.values() if each.any()]
        for row in summarise(mixed)["by_area_share"]:
            to_share = row["to_share"] or 2
            assert row["images"] == sum(row["from_share"] <= one < to_share for one in shares)


@pytest.mark.unit
def test_batches_hold_one_size_and_large_images_no_more_pixels(tmp_path):
    shapes = [(8, 8)] * 5 + [(8, 9)] * 2 + [(80, 80)] * 3 + [(8, 8)]
    images = ImageDataset([tmp_path] * 11, shapes)
    assert images.batches(4) == [[0, 1, 2, 3], [4], [5, 6], [7], [8], [9], [10]]
    assert ImageDataset([tmp_path] * 5, (8, 8)).batches(2) == [[0, 1], [2, 3], [4]]


@pytest.mark.unit
def test_crops_and_validation_are_those_of_each_size_alone(tmp_path):
    random, truths, paths = np.random.default_rng(3), [], []
    for number in range(12):
        labels_hw = discs(((20, 31), (48, 36), (36, 48))[number // 4], number % 4, random)
        image_hwc = random.integers(0, 60, (*labels_hw.shape, 3), dtype=np.uint8)
        image_hwc[labels_hw > 0] += 140
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image_hwc)
        truths.append(labels_hw)

    def objects(chosen):
        shapes = [truths[number].shape for number in chosen]
        return TrueObjects([encode_labels(truths[number]) for number in chosen], shapes)

    every = objects(range(12))
    for number, labels_hw in enumerate(truths):
        rows, columns = slice(3, 15), slice(5, 18)
        found_hw = every.labels(number, rows, columns)[0]
        np.testing.assert_array_equal(found_hw > 0, labels_hw[rows, columns] > 0)
        if number % 4:
            assert labels_hw[*every.random_pixel(number, random)]
    assert {n: each.tolist() for n, each in every.contacts(3).items()} == {
        number: one.contacts(3)[0].tolist()
        for number in range(12)
        if (one := objects([number])).contacts(3)
    }
    crops = toy_training.dataset((paths, every))
    for index in range(len(crops)):
        item = crops[0, index]
        assert item["image_chw"].shape == (3, 24, 24)
        assert torch.equal(item["image_chw"].amin(0) > 90, item["target"][0] > 0)

    network = toy_training.Network().eval()

    def validated(chosen):
        data = ImageDataset(
            [paths[number] for number in chosen],
            (truth := objects(chosen)).sizes,
            (truth, toy_training.SHIP),
        )
        assert len(data) == len(chosen)
        context = replace(toy_training.context(tmp_path, (paths, every)), validation=data)
        return validate(context, network, pixels=10**6, between=lambda: None)

    mixed = validated(range(12))
    alone = [validated(range(first, first + 4)) for first in (0, 4, 8)]
    for name in ("val_f2", "val_image_dice"):
        assert mixed[name] == pytest.approx(np.mean([each[name] for each in alone]), rel=1e-5)


@pytest.mark.unit
def test_scenes_are_found_among_images_of_one_size(tmp_path):
    random = np.random.default_rng(4)
    one, other = (random.integers(0, 255, (90, 60, 3), dtype=np.uint8) for _ in range(2))
    larger = cv2.resize(one, (120, 180), interpolation=cv2.INTER_NEAREST)
    images = {"a": larger, "b": one, "c": larger, "d": other, "e": one, "f": one[:40], "g": one[:7]}
    images["h"] = images["g"]
    for name, image_hwc in images.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image_hwc)
    paths = [tmp_path / f"{name}.png" for name in images]
    own = Sizes.of_each({name: each.shape[:2] for name, each in images.items()}, (0, 0))
    for _ in range(2):  # described, and read again
        groups = find_groups_by_size(paths, [*images], own, jobs=1, signatures_path=tmp_path / "s")
        assert groups.tolist() == [0, 1, 0, 2, 1, 3, 4, 5]


def write_images(folder, count, random):
    """Write images with bright discs; return their table."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        labels_hw = discs(SHAPES[number % len(SHAPES)], number % 3, random)
        image_hwc = random.integers(0, 60, (*labels_hw.shape, 3), dtype=np.uint8)
        image_hwc[labels_hw > 0] += 140
        cv2.imwrite(str(folder / f"{number}.png"), image_hwc)
        rows += rows_of(f"{number}.png", labels_hw)
    return table(rows)


@pytest.mark.contract
@pytest.mark.parametrize("turned", [None, 0, 2])
def test_a_catalog_keeps_the_sizes_and_one_size_needs_no_table(tmp_path, turned):
    shapes = [(9, 8) if number == turned else (8, 9) for number in range(3)]
    root, task = tmp_path / "mine", load_config(ROOT / "configs" / "masks.yaml", []).task
    names = ["images/a.png", "images/b.png", "test_images/a.png"]
    for name, shape in zip(names, shapes, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.zeros(shape, np.uint8))
    write_instances(root / "masks.csv", table([("a.png", "72 1"), ("b.png", "")]))
    write_instances(root / "sample_submission.csv", table([("a.png", "")]))
    catalog, quarantine = check_folder(root, task, tmp_path / "seen", max_bad_share=0, jobs=1)
    wanted = {"stage": "data", "fold": None, "seed": 0, "config": {}, "inputs": {}, "files": {}}
    job = Job("data", None, tmp_path / "data", wanted)
    job.finish(catalog.save(job.folder, quarantine), {})
    assert (job.folder / SIZES).exists() is (len({*shapes}) > 1)
    loaded = Catalog.load(job.folder, root, task)
    for each in (catalog, loaded):
        assert [each.sizes["a.png"], each.sizes["b.png"], each.test_sizes["a.png"]] == shapes
    assert (loaded.sizes, loaded.test_sizes) == (catalog.sizes, catalog.test_sizes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and its data; the current folder is that of the run."""
    folder = tmp_path_factory.mktemp("mixed")
    root, random = folder / "mine", np.random.default_rng(0)
    write_instances(root / "masks.csv", write_images(root / "images", 30, random))
    truth = write_images(root / "test_images", 9, random)
    write_instances(root / "truth.csv", truth)
    blank = truth.assign(EncodedPixels="").drop_duplicates()
    write_instances(root / "sample_submission.csv", blank)
    (root / "test_images" / "8.png").write_bytes(b"damaged")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(second_look, "MIN_IMAGES", 5)
        patched.setattr(second_look, "MAX_SHARE", 0.4)
        data = [f"data.root={root}", f"data.test_truth={root}/truth.csv", "data.max_bad_share=0.2"]
        more = ["crops.per_epoch=64", "train.epochs=2", "train.validation_images=7"]
        looks = ["predict.tta=flips", "predict.look_again=true", "calibrate.watershed=null"]
        overrides = [*TINY, *data, *more, *looks, "name=mixed", "kaggle.slug=mine"]
        run = Run(load_config(ROOT / "configs" / "masks.yaml", overrides), restart=False)
        run_stages(run)
        s7_report.stage(run)
        yield run, root


def masks_of(path, images):
    """The masks of each image in a file, drawn in the image's own size."""
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    found = {}
    for name, text in rows:
        image = cv2.imread(str(images / name))
        height, width = (131, 160) if image is None else image.shape[:2]
        numbers, flat = [*map(int, text.split())], np.zeros(height * width, bool)
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            flat[start - 1 : start - 1 + length] = True
        found.setdefault(name, []).extend([flat.reshape(width, height).T] * bool(text))
    return found


@pytest.mark.smoke
def test_the_score_is_that_of_the_files_and_the_page_has_each_image_in_its_shape(finished):
    run, root = finished
    written = run.folder / "submit" / "submission.csv"
    truth, submission = (
        masks_of(one, root / "test_images") for one in (root / "truth.csv", written)
    )
    assert truth.keys() == submission.keys()
    assert sum(map(len, submission.values())) > 3
    for masks in submission.values():
        assert not masks or np.sum(masks, axis=0).max() <= 1, "predicted objects overlap"
    score = np.mean([precision_of_objects(truth[name], submission[name]) for name in truth])
    metrics = read_json(written.parent / "manifest.json")["metrics"]
    assert metrics["test_ap"] == pytest.approx(score, abs=1e-9)
    page = (run.folder / "report" / "index.html").read_text()
    assert f"{score:.3f}" in page
    shown = json.loads(re.search(r'id="gallery-data"[^>]*>(.*?)</script>', page, re.S)[1])
    shapes = {tile["id"]: (tile["height"], tile["width"]) for tile in shown["tiles"]}
    assert {*shapes.values()} == {*SHAPES}
    assert all(shape == SHAPES[int(name[:-4]) % 5] for name, shape in shapes.items())


@pytest.mark.smoke
def test_sizes_are_kept_and_looking_again_is_chosen_among_them(finished):
    run, _ = finished
    catalog = Catalog.of(run)
    assert (run.folder / "data" / SIZES).is_file()
    own = {f"{number}.png": SHAPES[number % 5] for number in range(30)}
    assert (catalog.sizes.own, catalog.sizes.common) == (own, None)
    assert catalog.test_sizes["8.png"] == (131, 160)  # not known: as large as the largest
    assert catalog.unusable_test_ids == ["8.png"]
    choices = [read_json(path) for path in run.folder.glob("predict/oof/fold*/second_look.json")]
    assert [each["images"] for each in choices] == [5, 5]
    assert all(each["tried"] for each in choices)


@pytest.mark.smoke
def test_a_package_and_single_pictures_get_what_the_run_found(finished, tmp_path, monkeypatch):
    run, root = finished
    monkeypatch.setattr("pipeline.package.build.add_wheels", lambda *_: None)
    predict_package(build_package(run, "me", []) / "dataset", root, tmp_path / "submission.csv")
    expected = read_instances(run.folder / "submit" / "submission.csv")
    pd.testing.assert_frame_equal(read_instances(tmp_path / "submission.csv"), expected)
    (root / "test_images" / "8.png").unlink()
    predict_scenes(find_scenes([root / "test_images"]), Model(Package.of_run(run)), tmp_path)
    single = read_instances(tmp_path / "instances.csv")
    ordered = expected[expected.ImageId != "8.png"].reset_index(drop=True)
    pd.testing.assert_frame_equal(single, ordered)
