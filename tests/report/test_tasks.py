"""The page speaks of the task: its metric, its objects, its classes, and of no other."""

import re
from dataclasses import replace

import numpy as np
import pytest
from simulated import AIRBUS, write_run

from pipeline.report.charts import bars
from pipeline.report.comparison import compare
from pipeline.report.outcomes import outcomes_of
from pipeline.report.page import run_page
from pipeline.report.records import Records
from pipeline.report.sample import draw_sample
from pipeline.report.task import Task

pytestmark = pytest.mark.contract

OTHER = replace(AIRBUS, title="Of something else", marks={})
MASKS = replace(OTHER, objects=False, object_name=("crack", "cracks"), marks={"1st": 0.9})
TASKS = {
    "classes": replace(MASKS, metric="dice", classes=("1", "2", "3")),
    "global": replace(MASKS, metric="global_dice", classes=("crack",)),
    "one mask": replace(MASKS, metric="mask_ap", classes=("crack",), mask_shape=(48, 48)),
    "cells": replace(OTHER, metric="pooled_ap", classes=("a", "b"), object_name=("cell", "cells")),
}


@pytest.fixture(params=TASKS, scope="module")
def run(request, tmp_path_factory):
    """A run of each task, whatever its configuration says."""
    competition = TASKS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "task", Task.of(competition))
        root = tmp_path_factory.mktemp("task")
        yield write_run(root, count=32, side=48, competition=competition)


def words_of(page):
    """What a reader sees or hears, but for the settings as they were written."""
    unsaid = r"<style>.*?</style>|<script>.*?</script>|<details>.*?</details>"
    page = re.sub(unsaid, "", page.decode(), flags=re.S)
    return re.sub(r"data:image[^\"]*|data/[^<]*", "", page)


def test_the_page_speaks_of_its_task_alone(run):
    page, problems = run_page(run, run.parent / "ledger.csv")
    task, words = Records(run).task, words_of(page)
    assert problems == []
    assert f"Out-of-fold {task.score}" in words
    assert task.many in words
    foreign = [r"\bships?\b", r"\bF2\b"]
    foreign += ["Merged", "objects per image"] * (not task.competition.objects)
    foreign += ["Beside the leaderboard"] * (not task.competition.marks)
    assert [word for word in foreign if re.search(word, words)] == []
    for name in task.classes if len(task.classes) > 1 else ():
        assert f"Class {name}" in words
    assert ('"name":"Class"' in words) == task.by_class
    rounded_and_settings = "0.50 (128 of 255)", "0.3333", "1 bce_minus_ln_dice", "0.002"
    assert [told for told in rounded_and_settings if f">{told}<" not in words] == []


def test_an_empty_bin_has_no_bar():
    drawing = bars("Scores", {"few": 3, "none": 0}, {"a": [0.5, 0.0], "b": [None, 0.0]}, "x", "y")
    assert drawing.text == "a: few 0.50; b: few none"
    assert "none" not in re.sub("<[^>]*>", "", drawing.svg)


def test_outcomes_have_the_score_of_calibration(run):
    records = Records(run)
    outcomes, scores = outcomes_of(records), records.scores()
    assert 1 - sum(outcomes.lost().values()) == pytest.approx(scores["score"])
    assert len(outcomes.layers) == scores["images"]


def test_the_sample_counts_pixels_and_objects_as_they_are(run):
    records = Records(run)
    outcomes = outcomes_of(records)
    sample = draw_sample(records, outcomes)
    height, width = outcomes.matches.sizes.common
    assert sample.layers == len(outcomes.layers)
    assert sample.pixels.sum() == height * width * sample.layers
    assert sample.true_pixels.sum() == outcomes.layers.true_px.sum()
    assert len(sample.objects) == outcomes.layers.n_predicted.sum()
    assert sample.objects.hit.sum() == (outcomes.matches.predicted_ships.hits > 0).sum()
    assert sample.objects.confidence.between(0.05, 0.95).all()


def test_a_gain_is_the_difference_of_the_scores(run):
    other = write_run(
        *(run.parents[1], "other"),
        count=32,
        side=48,
        seed=1,
        competition=Records(run).task.competition,
    )
    page, text = compare([run, other])
    scores = [Records(each).scores()["score"] for each in (run, other)]
    (line,) = [each for each in text.splitlines() if ", all images" in each]
    found = re.search(r"all images +\d+ +([+-][\d.]+)", line)
    assert float(found[1]) == pytest.approx(np.diff(scores)[0], abs=1e-4)
    assert not re.search(r"\bships?\b|\bF2\b", words_of(page))
