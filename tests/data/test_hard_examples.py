"""Hard empty images: only from a run that had the same folds."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.load import load_config
from pipeline.data.hard_examples import draw_weights, hard_maps
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.run import Run

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml").resolve()


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Make a run that is split, and has out-of-fold maps of images a, b (fold 0) and c (fold 1)."""
    monkeypatch.chdir(tmp_path)

    def make(name, *overrides, folds="a,0\n"):
        run = Run(load_config(DEMO, [f"name={name}", *overrides]), restart=False)
        jobs = [run.job("split", sections=(), inputs=[])]
        jobs += [run.job("predict/oof", fold=k, sections=(), inputs=[]) for k in range(2)]
        tables = [("folds.csv", folds), ("index.csv", "a,0.95\nb,0.0\n"), ("index.csv", "c,0.2\n")]
        for job, (table, rows) in zip(jobs, tables, strict=True):
            run.begin(job)
            (job.folder / table).write_text("ImageId,max_probability\n" + rows)
            job.finish([table], {})
        return run

    return make


def test_the_weights_are_the_maxima_of_the_earlier_runs_maps(make_run):
    make_run("first")
    maps = hard_maps(make_run("second", "crops.hard_run=first"))
    assert draw_weights(maps, pd.Series(["c", "a", "b"])) == pytest.approx([0.25, 1.0, 0.05])
    weights = draw_weights(maps, pd.Series(["c"]), further=2)
    assert weights == pytest.approx([0.25, np.nan, np.nan], nan_ok=True)


def test_without_an_earlier_run_there_are_no_weights(make_run):
    maps = hard_maps(make_run("second"))
    assert maps == []
    assert draw_weights(maps, pd.Series(["a"])) is None


@pytest.mark.parametrize("name", ["third", "second"])
def test_an_unknown_run_or_this_one_is_refused(make_run, name):
    with pytest.raises(
        ConfigError, match=rf"crops.hard_run: {name}: expected another run, which has predicted"
    ):
        hard_maps(make_run("second", f"crops.hard_run={name}"))


def test_a_run_with_other_folds_is_refused(make_run):
    make_run("first", folds="a,1\n")
    with pytest.raises(ArtifactError, match="expected the folds of this run"):
        hard_maps(make_run("second", "crops.hard_run=first"))


def test_an_unfinished_run_is_refused(make_run):
    make_run("first")
    Path("runs/first/split/manifest.json").unlink()
    with pytest.raises(ArtifactError, match=re.escape("split is not finished")):
        hard_maps(make_run("second", "crops.hard_run=first"))


def test_a_changed_index_is_refused(make_run):
    make_run("first")
    maps = hard_maps(make_run("second", "crops.hard_run=first"))
    Path("runs/first/predict/oof/fold1/index.csv").write_text("ImageId,max_probability\nc,0.9\n")
    with pytest.raises(ArtifactError, match="damaged"):
        draw_weights(maps, pd.Series(["c"]))
