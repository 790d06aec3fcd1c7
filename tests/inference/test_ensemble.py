"""The mean of several runs' maps, through the real stages, and the runs that cannot be averaged."""

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from all_stages import do_parts

from pipeline import s0_data, s1_split, s2_train, s3_finetune, s4_predict, s5_calibrate
from pipeline.config.load import as_stored, load_config, load_stored_config
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.errors import ArtifactError, ConfigError
from pipeline.inference.ensemble import average_maps
from pipeline.inference.probmaps import MapReader, MapWriter
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps
from pipeline.masks.sizes import Sizes

TINY = Path(__file__).parents[1] / "tiny.yaml"
HEAD = "image_head.weight=0.1"


@pytest.mark.unit
def test_means_of_probabilities_and_of_logits():
    maps = [np.array([[0, 255, 128, 255]], np.uint8), np.array([[0, 255, 64, 0]], np.uint8)]
    assert average_maps(maps, "probability").tolist() == [[0, 255, 96, 128]]
    logits = average_maps(maps, "logit").tolist()
    assert logits[0][:2] == [0, 255]
    odds = np.sqrt(128.5 / 127.5 * 64.5 / 191.5)  # the geometric mean of odds
    assert logits[0][2] == round(256 * odds / (1 + odds) - 0.5)
    assert logits[0][3] in {127, 128}
    every = np.arange(256, dtype=np.uint8)[None]
    for mean in ("probability", "logit"):
        assert (average_maps([every] * 3, mean) == every).all()


def opened(name, *overrides):
    return Run(load_config(TINY, [f"name={name}", *overrides]), restart=False)


def a_run(name, *overrides):
    """A run with checked and split data, which all runs of these tests share."""
    run = opened(name, *overrides)
    for stage in ("data", "split"):
        shutil.copytree(Path("runs/shared") / stage, run.folder / stage)
    (run.folder / "config.yaml").write_text(as_stored(run.config))
    return run


@pytest.fixture(scope="module", autouse=True)
def _shared_data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("ensemble"))
        run = opened("shared")
        s0_data.stage(run)
        s1_split.stage(run)
        yield


def predict_noise(run, seed, shape=(96, 96), only=None):
    """Finish the run's maps without a network; every `seed + 2`th stays below the floor."""
    rng = np.random.default_rng(seed)
    catalog = Catalog.of(run)
    parts = [("predict/oof", 0), ("predict/oof", 1), ("predict/test", None)]
    folds = read_folds(run.result("split").checked("folds.csv"))
    for stage, fold in parts:
        held = folds.ImageId[folds.fold == fold].tolist()
        ids = catalog.usable_test_ids if fold is None else held
        job = run.job(stage, fold=fold, sections=("predict",), inputs=[run.result("split")])
        assert run.begin(job)
        writer = MapWriter(job, Part("test"), floor=run.config.predict.floor)
        for i, image_id in enumerate(ids[:only]):
            noise_hw = rng.integers(0, 256, shape).astype(np.float32)
            smooth_hw = cv2.normalize(
                cv2.GaussianBlur(noise_hw, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX
            )
            prob_hw = (smooth_hw * (1 if i % (seed + 2) else 0.1)).astype(np.uint8)
            head = i % 10 / 10 if run.config.image_head.weight else None
            writer.add(image_id, [ImageMaps(prob_hw, None, head)])
        writer.end(ids[:only], "cpu")


@pytest.mark.contract
def test_an_ensemble_predicts_and_calibrates_without_networks(caplog):
    for seed, name in enumerate("ab"):
        predict_noise(a_run(name, HEAD, f"predict.batch_size={seed + 1}"), seed)
    run = a_run("both", HEAD, "predict.ensemble={runs: [a, b], mean: logit}")
    with caplog.at_level(logging.INFO):
        do_parts(s2_train.stage, run, ["0", "1"])
        do_parts(s3_finetune.stage, run, ["0", "1"])
    assert caplog.text.count("averages the maps of other runs") == 4
    do_parts(s4_predict.stage, run, ["0", "1", "test"])
    catalog = Catalog.of(run)
    jobs = [
        Run(load_stored_config(Path("runs") / name / "config.yaml"), restart=False).result(
            "predict/test"
        )
        for name in ("a", "b", "both")
    ]
    readers = [
        MapReader(job, catalog.usable_test_ids, Sizes((96, 96)), contact=False) for job in jobs
    ]
    sea_hw = np.zeros((96, 96), np.uint8)
    for i, image_id in enumerate(catalog.usable_test_ids):
        one, other, both = (reader.read(image_id) for reader in readers)
        assert (one is None, other is None) == (i % 2 == 0, i % 3 == 0)
        expected = average_maps([sea_hw if m is None else m.prob_hw for m in (one, other)], "logit")
        if expected.max() < 255 * run.config.predict.floor:
            assert both is None
        else:
            np.testing.assert_array_equal(both.prob_hw, expected)
        # Also where a map, or the mean, stays below the floor.
        assert readers[2].image_prob(image_id) == i % 10 / 10
    do_parts(s4_predict.stage, run, ["0", "1", "test"])  # done before
    s5_calibrate.stage(run)
    tried = read_json(run.folder / "calibrate" / "rules.json")["tried"]
    assert ("the image head is not used" in caplog.text) is not tried[-1]["kept"]


@pytest.mark.contract
def test_runs_that_cannot_be_averaged_are_named():
    predict_noise(a_run("small"), 0, shape=(48, 96))
    predict_noise(a_run("few"), 0, only=3)
    a_run("unpredicted")
    a_run("contact", "targets.kind=object_contact")
    a_run("head", HEAD)
    folds = a_run("folds").folder / "split" / "manifest.json"
    manifest = read_json(folds)
    manifest["outputs"]["folds.csv"]["sha256"] = "0" * 64
    write_json(folds, manifest)
    cases = {
        "nothing": (ConfigError, "runs: nothing: expected another run, which has predicted"),
        "refused": (ConfigError, "refused: expected another run"),
        "contact": (ConfigError, "contact: expected maps without contact.*object_contact"),
        "head": (ConfigError, r"head: expected maps without .* image_head\.weight=0\.0 .* 0\.1\."),
        "folds": (ArtifactError, "runs/folds: expected the folds of this run"),
        "unpredicted": (ArtifactError, "unpredicted.*missing, so predict/oof fold 0 is not"),
        "few": (ArtifactError, r"few.*index\.csv: expected the maps of \d+ images, got 3"),
        "small": (ArtifactError, r"small.*expected a map of shape \(96, 96\).*\(48, 96\)"),
    }
    a_run("refused")
    for name, (error, message) in cases.items():
        run = opened("refused", f"predict.ensemble={{runs: [{name}], mean: logit}}")
        with pytest.raises(error, match=message):
            do_parts(s4_predict.stage, run, ["0"])
