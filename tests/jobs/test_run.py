"""Manifests decide what is done; anything that does not fit is named."""

from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.errors import ArtifactError
from pipeline.jobs.run import Run

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml").resolve()


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*overrides, restart=False):
        return Run(load_config(DEMO, ["name=r", *overrides]), restart=restart)

    return make


def first(run, content=b"1"):
    job = run.job("first", sections=("train",), inputs=[], files={"in.csv": "abc"})
    if run.begin(job):
        (job.folder / "out").write_bytes(content)
        job.finish(["out"], {"score": 1.0})
        return True
    return False


def second(run):
    job = run.job("second", fold=1, sections=("predict",), inputs=[run.result("first")])
    if run.begin(job):
        (job.folder / "out").write_bytes(b"2")
        job.finish(["out"], {})
        return True
    return False


def test_work_is_done_once(make_run):
    assert (first(make_run()), second(make_run())) == (True, True)
    assert (first(make_run()), second(make_run())) == (False, False)
    manifest = make_run().result("second", fold=1).manifest
    assert manifest["fold"] == 1
    assert set(manifest) >= {"stage", "config", "inputs", "outputs", "versions", "device", "wall_s"}


def test_a_missing_input_is_named(make_run):
    with pytest.raises(ArtifactError, match=r"first/manifest.json: missing, so first is not fin"):
        second(make_run())


def test_another_configuration_is_refused_with_the_difference(make_run):
    first(make_run())
    with pytest.raises(
        ArtifactError, match=r"train.epochs was \d+, now 99.*--from first --restart"
    ):
        first(make_run("train.epochs=99"))
    with pytest.raises(ArtifactError, match=r"seed was 0, now 5"):
        first(make_run("seed=5"))
    assert not first(make_run("predict.batch_size=3")), "a section it does not read must not matter"


def test_results_of_another_configuration_are_not_read(make_run):
    first(make_run())
    second(make_run())
    with pytest.raises(ArtifactError, match=r"train.epochs was \d+, now 99"):
        make_run("train.epochs=99").result("first")
    with pytest.raises(ArtifactError, match=r"train.epochs was \d+, now 99"):
        make_run("train.epochs=99").result("second", fold=1)


def test_an_input_made_anew_is_noticed_but_not_if_it_is_the_same(make_run):
    first(make_run())
    second(make_run())
    assert first(make_run(restart=True)), "restart does the work again"
    make_run().result("second", fold=1)
    first(make_run(restart=True), content=b"other")
    with pytest.raises(ArtifactError, match=r"first was made anew since"):
        make_run().result("second", fold=1)
    with pytest.raises(ArtifactError, match=r"inputs.first was"):
        second(make_run())


def test_missing_cut_and_changed_outputs_are_noticed(make_run):
    first(make_run())
    out = make_run().result("first").folder / "out"
    out.write_bytes(b"7")
    with pytest.raises(ArtifactError, match=r"out: damaged: expected SHA-256"):
        make_run().result("first").checked("out")
    out.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"expected the 1 bytes .* found 0 bytes"):
        first(make_run())
    out.unlink()
    with pytest.raises(ArtifactError, match=r"expected the 1 bytes .* found no file"):
        first(make_run())


def test_a_half_written_manifest_is_not_taken_for_whole(make_run):
    first(make_run())
    path = make_run().result("first").folder / "manifest.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ArtifactError, match=r"manifest.json: not readable as JSON"):
        first(make_run())
