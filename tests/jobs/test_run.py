"""Manifests decide what is done; anything that does not fit is named."""

import hashlib
import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from pipeline.config.earlier import in_0_1_0
from pipeline.config.load import load_config
from pipeline.errors import ArtifactError
from pipeline.jobs.job import differences
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


def edit_manifest(job, change):
    manifest = job.manifest
    change(manifest)
    (job.folder / "manifest.json").write_text(json.dumps(manifest))


def without_zoom(manifest):
    """Make a manifest as it was before there was a zoom."""
    del manifest["config"]["augment"]["zoom"]


def third(run):
    return run.job("third", fold=0, sections=("augment", "crops"), inputs=[])


def fourth(run):
    return run.job("fourth", sections=("crops",), inputs=[third(run)])


@pytest.fixture
def finished(make_run):
    """Finish two jobs, the second of which reads the first, and return their run."""
    run = make_run()
    for job in (third, fourth):
        assert run.begin(job(run))
        job(run).finish([], {})
    return run


def test_a_neutral_setting_makes_no_other_job_of_it(finished, make_run):
    identity = third(finished).identity
    edit_manifest(third(finished), without_zoom)
    assert third(finished).identity == identity
    assert third(finished).is_done()
    assert fourth(finished).is_done()
    finished.result("fourth")
    changed = make_run("augment.zoom=0.5")
    with pytest.raises(ArtifactError, match=r"config.augment.zoom was 0.0, now 0.5"):
        third(changed).is_done()
    with pytest.raises(ArtifactError, match=r"augment.zoom was 0.0, now 0.5"):
        changed.result("third", fold=0)


def hash_in_0_1_0(of_job):
    return hashlib.sha256(json.dumps(of_job, sort_keys=True).encode()).hexdigest()


def as_in_0_1_0(manifest):
    manifest["config"] = in_0_1_0(manifest["config"])


def test_what_version_0_1_0_finished_is_done(finished):
    edit_manifest(third(finished), as_in_0_1_0)
    edit_manifest(fourth(finished), as_in_0_1_0)
    known = ("stage", "fold", "seed", "config", "inputs", "files", "outputs")
    mark = hash_in_0_1_0({key: third(finished).manifest[key] for key in known})
    edit_manifest(
        fourth(finished), lambda manifest: manifest["inputs"].update({"third/fold0": mark})
    )
    assert "ship_share" in finished.result("fourth").manifest["config"]["crops"]
    assert third(finished).is_done()
    assert fourth(finished).is_done()


def test_what_version_0_1_0_began_resumes(finished):
    edit_manifest(third(finished), as_in_0_1_0)
    job = fourth(finished)
    wanted = deepcopy(job.wanted)
    as_in_0_1_0(wanted)
    wanted["inputs"]["third/fold0"] = third(finished).identities[-1]
    job.refuse_others(hash_in_0_1_0(wanted), job.folder)
    with pytest.raises(
        ArtifactError, match=r"unfinished work .* 0\.1\.0 .* not say for what\. Start"
    ):
        job.refuse_others(hash_in_0_1_0(wanted | {"seed": 7}), job.folder)


def test_unfinished_work_of_another_configuration_is_refused_with_the_difference(make_run):
    job = third(make_run("crops.busiest_of=9"))
    with pytest.raises(
        ArtifactError, match=r"config.crops.busiest_of was 9, now 4\. Start it over"
    ):
        third(make_run()).refuse_others(job.owner, job.folder)
    without_zoom(job.wanted)
    third(make_run("crops.busiest_of=9")).refuse_others(json.dumps(job.wanted), job.folder)


def stored(run):
    return yaml.safe_load((run.folder / "config.yaml").read_text())


def test_the_stored_configuration_changes_with_the_work_it_describes(make_run):
    first(make_run())
    before = stored(make_run())
    other = make_run("train.epochs=99", "crops.busiest_of=9", "predict.batch_size=3")
    with pytest.raises(ArtifactError, match=r"train.epochs was"):
        first(other)
    assert stored(other) == before
    assert other.begin(fourth_alone(other))
    assert stored(other)["crops"]["busiest_of"] == 9
    assert stored(other)["train"] == before["train"], "of work that stands"
    assert stored(other)["predict"] == before["predict"], "of work that has not begun"


def fourth_alone(run):
    return run.job("fourth", sections=("crops",), inputs=[])


def test_a_refused_run_leaves_no_folder(make_run):
    with pytest.raises(ArtifactError, match="missing, so first is not finished"):
        second(make_run())
    assert not Path("runs").exists()


def test_where_files_lie_is_no_difference(make_run):
    def data(run):
        return run.job("data", sections=("data",), inputs=[], files={"listing": "abc"})

    run = make_run("data.root=/disk/a")
    assert run.begin(data(run))
    data(run).finish([], {})
    moved = make_run("data.root=/disk/b")
    assert data(moved).identity == data(run).identity
    assert not moved.begin(data(moved))
    assert stored(moved)["data"]["root"] == "/disk/b", "where to look for them from now on"
    moved.result("data")
    make_run("data.root=/disk/b", "data.gsd=1.5").result("data")
    with pytest.raises(ArtifactError, match=r"max_bad_share was 0\.01, now 0\.5"):
        make_run("data.root=/disk/b", "data.max_bad_share=0.5").result("data")


def test_folds_of_two_configurations_do_not_mix(make_run):
    assert make_run().begin(third(make_run()))
    third(make_run()).finish([], {})

    def other_fold(run):
        return run.job("third", fold=1, sections=("augment", "crops"), inputs=[])

    other = make_run("crops.busiest_of=9")
    with pytest.raises(ArtifactError, match=r"third/fold0: finished .*busiest_of was 4, now 9"):
        other.begin(other_fold(other))
    assert make_run().begin(other_fold(make_run()))


@pytest.fixture
def occupy(make_run):
    """Finish the first job, and return a function that lets another process hold a lock of it."""
    first(make_run())
    started = []

    def hold(lock):
        code = "from pipeline.jobs.lock import Lock; import sys, time; from pathlib import Path\n"
        code += "Lock(Path(sys.argv[1]), '').take(); print(flush=True); time.sleep(60)"
        command = [sys.executable, "-c", code, str(Path("runs/r/locks", lock).resolve())]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=DEMO.parents[1]))
        started[-1].stdout.readline()
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.wait()


def test_what_another_process_works_on_is_left_alone(make_run, occupy):
    busy = occupy("first")
    refused = rf"r: first: process {busy.pid} on .* since .* is at work on it"
    with pytest.raises(ArtifactError, match=refused):
        first(make_run(restart=True))
    assert (Path("runs/r/first/out")).read_bytes() == b"1"
    Path("runs/r/first/manifest.json").unlink()
    with pytest.raises(ArtifactError, match=refused):
        first(make_run())
    busy.kill()
    busy.wait()
    assert first(make_run())


def test_what_another_process_has_set_out_to_do_is_not_started_over(make_run, occupy):
    other = occupy("first-claim")
    refused = rf"r: first: process {other.pid} on .* is at work on it"
    with pytest.raises(ArtifactError, match=refused):
        first(make_run(restart=True))
    with pytest.raises(ArtifactError, match=refused):
        make_run().claim(make_run().result("first"))
    assert (Path("runs/r/first/out")).read_bytes() == b"1"


def test_a_restart_that_is_refused_brings_back_what_was_done(make_run):
    first(make_run())
    before = {path: path.read_bytes() for path in Path("runs/r").rglob("*.*")}
    again = make_run("train.epochs=99", restart=True)
    assert again.has_work(first_job(again))
    assert {path: path.read_bytes() for path in before} == before, "nothing is begun yet"
    assert again.begin(first_job(again))
    assert not Path("runs/r/first/manifest.json").exists()
    again.bring_back()  # as the stage ends in an error
    assert {path: path.read_bytes() for path in before} == before
    second_try = make_run("train.epochs=99", restart=True)
    assert second_try.begin(first_job(second_try))
    (second_try.folder / "first" / "state").write_text("some steps")
    second_try.bring_back()
    assert Path("runs/r/first/state").exists(), "work that has begun is kept"
    assert stored(second_try)["train"]["epochs"] == 99


def first_job(run):
    return run.job("first", sections=("train",), inputs=[], files={"in.csv": "abc"})


def test_what_is_replaced_goes_when_the_new_is_finished(make_run):
    first(make_run())
    assert first(make_run(restart=True), content=b"other")
    assert (Path("runs/r/first/out")).read_bytes() == b"other"
    assert not list(Path("runs/r/replaced").iterdir())


def test_what_another_process_reads_is_not_started_over(make_run, occupy):
    reading = make_run()
    assert reading.begin(
        reading.job("second", fold=1, sections=("predict",), inputs=[reading.result("first")])
    )
    code = "from pipeline.jobs.lock import Lock; import sys; from pathlib import Path\n"
    code += "Lock(Path(sys.argv[1]), 'first').take()"
    command = [sys.executable, "-c", code, str(Path("runs/r/locks/first").resolve())]
    done = subprocess.run(command, cwd=DEMO.parents[1], capture_output=True, text=True, check=False)
    assert f"first: process {os.getpid()} on" in done.stderr
    assert "is at work on it" in done.stderr


DAMAGED = [
    {"outputs": {"out": None}},
    {"outputs": {"out": "x"}},
    {"outputs": {"out": {"bytes": 1}}},
    {"inputs": {"data": {}}},
    {"inputs": "x"},
    {"files": None},
    {"files": {"in.csv": []}},
    {"config": 3},
    {"metrics": []},
]


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_a_manifest_of_another_form_is_none(make_run, damage):
    first(make_run())
    edit_manifest(make_run().result("first"), lambda manifest: manifest.update(damage))
    with pytest.raises(ArtifactError, match=r"manifest.json: expected a job's manifest\. Start"):
        first(make_run())
    with pytest.raises(ArtifactError, match="expected a job's manifest"):
        make_run().result("first")


@pytest.mark.parametrize("owner", ["{}", "[]", "3", '{"config": []}'])
def test_unfinished_work_whose_owner_cannot_be_read_is_refused(make_run, owner):
    job = third(make_run())
    with pytest.raises(ArtifactError, match="unfinished work for something else"):
        job.refuse_others(owner, job.folder)


def test_a_long_list_is_cut_around_the_place_where_it_differs():
    ours = {"ids": [{"name": f"{n:03d}.jpg"} for n in range(50)]}
    theirs = deepcopy(ours)
    theirs["ids"][40]["name"] = "x.jpg"
    assert differences(ours, theirs) == ['ids[40].name was "x.jpg", now "040.jpg"']
    theirs["ids"].insert(30, 5)
    (told,) = differences(ours, theirs)
    assert re.fullmatch(r"ids was \.\.\..* 5, .*\.\.\., now \.\.\..*\"030.*\.\.\.", told), told
