"""A missing or damaged record costs its own part of the page, and is named; nothing crashes."""

import shutil

import pytest
from simulated import write_run

from pipeline.report.page import run_page

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("whole"), count=16, side=48)


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "runs" / whole.name)


def rendered(run):
    page, problems = run_page(run, run.parents[1] / "ledger.csv")
    return page.decode(), problems


NOTHING, BINARY, OTHER_JSON, LIST, TABLE = (
    b"",
    b"\xff\x00,",
    b'{"a": 1}\n',
    b"[1, 2]",
    b"x,y\n1,2\n",
)
# Those that stand together are read for different parts of the page, so none hides another.
DAMAGE = [
    {"config.yaml": LIST},
    {
        "data/catalog.json": BINARY,
        "split/manifest.json": LIST,
        "train/fold0/history.csv": TABLE,
        "calibrate/rules.json": LIST,
    },
    {"data/instances.csv": TABLE, "calibrate/scores.json": OTHER_JSON},
    {"data/manifest.json": OTHER_JSON},
    {"split/folds.csv": NOTHING},
    {"predict/oof/fold1/index.csv": BINARY},
    {"calibrate/oof_instances.csv": NOTHING},
]


def test_a_run_that_never_began_is_a_page_that_says_what_to_do(tmp_path):
    page, problems = rendered(tmp_path / "runs" / "nothing")
    assert "The stage `calibrate` writes it: run that first." in page
    assert any("calibrate/scores.json" in problem for problem in problems)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: next(iter(damage)))
def test_damaged_records_are_named_and_the_rest_stands(run, damage):
    for name, content in damage.items():
        (run / name).write_bytes(content)
    page, problems = rendered(run)
    assert page.rstrip().endswith("</html>")
    assert 'class="problem"' in page
    assert len(problems) == len(damage)
    for name in damage:
        assert any(name in problem for problem in problems), name
    assert page.count("<figure") > 3


@pytest.mark.parametrize("name", ["calibrate/scores.json", "calibrate/oof_instances.csv"])
def test_a_missing_record_is_named(run, name):
    (run / name).unlink()
    page, problems = rendered(run)
    assert f"{name}: missing. The stage `calibrate` writes it" in page
    assert any(name in problem for problem in problems)
    assert page.count("<figure") > 3


def test_missing_images_leave_the_outlines(run, whole):
    images = whole.parents[1] / "data" / whole.name / "train_v2"
    moved = images.rename(images.with_name("moved"))
    try:
        page, problems = rendered(run)
    finally:
        moved.rename(images)
    (problem,) = problems
    assert "images cannot be shown" in problem
    assert '"outlines"' in page


def test_folders_that_are_no_folds_are_none(run):
    shutil.copytree(run / "train" / "fold0", run / "train" / "fold0.bak")
    assert rendered(run)[1] == []
