"""Each competition: a stand-in in its own form, checked, read, submitted and read back."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.config.competitions import Rle, competitions
from pipeline.data.catalog import Catalog
from pipeline.data.check import check_folder
from pipeline.data.files import ImageFiles, check_kind, fingerprint
from pipeline.data.images import Images, read_luminance
from pipeline.data.overlaps import find_groups
from pipeline.data.stand_in import render_stand_in
from pipeline.errors import DataError
from pipeline.jobs.job import Job
from pipeline.masks.instances import check_instances
from pipeline.masks.rle import decode_mask
from pipeline.masks.sizes import Sizes
from pipeline.masks.tables import read_masks
from pipeline.selection.submission import check_submission, write_submission

pytestmark = pytest.mark.unit

SMALL = {"seed": 1, "train_tiles": 5, "test_tiles": 3, "empty_share": 0.25}
WANTED = {"stage": "data", "fold": None, "seed": 0, "config": {}, "inputs": {}, "files": {}}


def with_classes(name):
    """Return a competition; for one's own masks some that the configuration could say."""
    found = competitions()[name]
    return found if found.classes else replace(found, classes=("a", "b"))


NAMES = sorted(competitions().keys() - {"airbus"})
ROOTS: dict[str, Path] = {}


@pytest.fixture(params=NAMES)
def task(request):
    return with_classes(request.param)


@pytest.fixture
def root(task, tmp_path_factory):
    if task.name not in ROOTS:
        ROOTS[task.name] = tmp_path_factory.mktemp("stand-in") / task.name
        render_stand_in(ROOTS[task.name], task, **SMALL)
    return ROOTS[task.name]


def checked(root, task, tmp_path, share=0.0):
    return check_folder(root, task, tmp_path / "memory.csv", max_bad_share=share, jobs=2)


def test_a_stand_in_is_checked_and_read_whole(root, task, tmp_path):
    catalog, quarantine = checked(root, task, tmp_path)
    assert quarantine.empty
    assert catalog.sizes == catalog.test_sizes == Sizes(task.stand_in.shape)
    assert (len(catalog.train_ids), len(catalog.test_ids)) == (5, 3)
    table, masks = catalog.instances, catalog.masks
    assert check_instances(table, catalog.sizes, "", objects=task.objects) == []
    assert check_instances(masks, catalog.mask_sizes, "", objects=task.objects) == []
    assert any(catalog.objects()[name] for name in catalog.train_ids)
    per_class = [catalog.objects(name) for name in task.classes]
    for name, every in catalog.objects().items():
        assert sorted(every) == sorted(text for of in per_class for text in of[name])
    layers = list(table.columns[:-1])
    assert len(table.groupby(layers)) == 5 * len(task.classes)
    assert task.objects or not table.duplicated(layers).any()
    job = Job("data", None, tmp_path / "saved", WANTED)
    job.finish(catalog.save(job.folder, quarantine), {})
    loaded = Catalog.load(job.folder, root, task)
    pd.testing.assert_frame_equal(loaded.instances, table)
    pd.testing.assert_frame_equal(loaded.masks, masks)
    paths = [loaded.train_path(name) for name in loaded.train_ids]
    images = Images(paths, loaded.sizes.common)
    grey_hw, _ = read_luminance(paths[0])
    np.testing.assert_array_equal(grey_hw, cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY))
    assert images[0].std() > 5


def unions(table, shape):
    """Return all that is masked, a mask for each image (and class)."""
    return {
        key: sum(decode_mask(text, *shape) for text in rows)
        for key, rows in table.groupby(list(table.columns[:-1]))["EncodedPixels"]
    }


def test_a_submission_is_written_in_the_samples_form_and_read_back(root, task, tmp_path):
    catalog, _ = checked(root, task, tmp_path)
    hidden = root / task.hidden_truth
    truth = read_masks(hidden, task, catalog.test_mask_sizes, images=catalog.test_ids)
    check_submission(
        truth, catalog.test_ids, catalog.test_mask_sizes, classes=task.classes, objects=task.objects
    )
    path = tmp_path / "submission.csv"
    write_submission(path, truth, root / task.sample, task, catalog.test_mask_sizes)
    header, *lines = path.read_text().splitlines()
    sample_header, *sample_lines = (root / task.sample).read_text().splitlines()
    assert header == sample_header
    if not task.objects:
        assert [line.split(",")[0] for line in lines] == [n.split(",")[0] for n in sample_lines]
    told = task if any(f.class_id or f.joined for f in task.sample_forms) else None
    if told is None:  # classes are not submitted
        told = replace(task, classes=("any",), truth_forms=task.sample_forms)
        truth = truth.drop(columns="ClassId", errors="ignore")
    again = read_masks(path, told, catalog.test_mask_sizes)
    one, other = (unions(table, catalog.test_mask_sizes.common) for table in (truth, again))
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_the_same_seed_gives_the_same_bytes(task, root, tmp_path):
    render_stand_in(tmp_path / "again", task, **SMALL)
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    assert files
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(root)).read_bytes()


def test_the_folder_of_another_competition_is_named(root, task):
    other = competitions()["sartorius" if task.name != "sartorius" else "clouds"]
    with pytest.raises(DataError, match=rf"rendered stand-in of\s+competition {task.name}\."):
        check_kind(root, other)
    assert "is a rendered stand-in" in check_kind(root, task)
    if set(other.layout) != set(task.layout):
        with pytest.raises(DataError, match=r"not there: (.|\n)*It looks like") as caught:
            fingerprint(root, competitions()["airbus"])
        assert f"(competition: {task.name})" in str(caught.value)
    before = fingerprint(root, task)
    assert before == fingerprint(root, task)


def test_nothing_else_in_the_pipeline_names_a_competition():
    # A configuration of before the key `competition` means Airbus's: schema.py says so.
    known = competitions().values()
    words = {word for each in known for word in (each.name, each.slug, each.title)} - {
        "masks",
        None,
    }
    package = Path(pipeline.__file__).parent
    found = [
        (path.name, word)
        for path in package.rglob("*.py")
        if path.parent.name != "competitions" and path != package / "config" / "schema.py"
        for word in words
        if re.search(rf"['\"]{re.escape(word)}['\"]", path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("task", ["tgs_salt", "severstal", "sartorius"], indirect=True)
def test_tiles_of_any_size_are_searched_for_overlaps(root, task):
    files = ImageFiles(root / task.train_images, task).found
    groups = find_groups([*files.values()], [*files], jobs=2, signatures_path=None)
    assert sorted(groups.tolist()) == list(range(5))


def test_every_description_is_whole():
    for name, task in competitions().items():
        assert task.source.startswith("http") or task.slug is None
        assert task.rle in (Rle(), task.rle)
        for form in (*task.truth_forms, *task.sample_forms):
            named = {form.image, form.pixels, form.class_id} - {None}
            assert named <= {*form.columns}, name
