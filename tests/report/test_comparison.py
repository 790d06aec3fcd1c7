"""Runs side by side: what differs, who wins where, and the images between them."""

import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from simulated import write_run

from pipeline.report.comparison import compare

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    return [write_run(root, name, seed=seed) for seed, name in enumerate(("old", "new"))]


def test_the_tables_say_what_differs_and_what_is_gained(runs):
    _, text = compare(runs)
    assert "seed" in text.partition("WHAT THEY SCORE")[0]
    assert "train.epochs" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("new − old, all images")]
    gain = float(line.split()[6])
    scores = {line.split("  ")[0]: line.split()[-2:] for line in text.splitlines()}
    old, new = map(float, scores["out-of-fold F2"])
    assert gain == pytest.approx(new - old, abs=2e-4)


def test_the_page_shows_the_images_that_changed_most(runs, browser, tmp_path):
    page, _ = compare(runs)
    path = tmp_path / "compare.html"
    path.write_bytes(page)
    browser.get(path.as_uri())
    changes = []
    for one in browser.find_elements(By.CSS_SELECTOR, ".tile"):
        _, before, _, after, *_ = one.text.split()
        changes.append(abs(float(before) - float(after)))
    assert changes
    assert changes == sorted(changes, reverse=True)
    assert browser.get_log("browser") == []


def test_runs_on_different_truths_are_told(runs, tmp_path):
    other = write_run(tmp_path, "other", side=48)
    page, text = compare([runs[0], other])
    assert "out-of-fold F2" in text
    assert b"</html>" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one"], "two or more different runs"),
        (["one", "two"], "expected the name or the folder of a run"),
    ],
)
def test_what_is_no_run_is_told(tmp_path, arguments, told):
    command = [
        sys.executable,
        "-m",
        "pipeline.commands.compare",
        *(str(tmp_path / a) for a in arguments),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
