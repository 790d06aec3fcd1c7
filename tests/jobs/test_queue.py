"""Which parts wait for which, what is claimed before it can be known, and what a restart leaves."""

from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.errors import ArtifactError
from pipeline.jobs.local import ThisMachine
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.queue import as_tasks, plan
from pipeline.jobs.run import Run

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml").resolve()
FOLDS = [Part("0"), Part("1")]


def work(_run, job, _part):
    (job.folder / "out").write_text(job.label)
    job.finish(["out"], {})


def first(run, part):
    return run.job("first", fold=part.fold, sections=("train",), inputs=[])


def second(run, part):
    read = [run.result("first", fold=part.fold)]
    return run.job("second", fold=part.fold, sections=("finetune",), inputs=read)


def third(run, part):
    folds = range(2) if part.name == "test" else [part.fold]
    read = [run.result("second", fold=fold) for fold in folds]
    stage, fold = ("third/test", None) if part.name == "test" else ("third/oof", part.fold)
    return run.job(stage, fold=fold, sections=("predict",), inputs=read)


STAGES = {
    "first": (PartStage(first, work), FOLDS),
    "second": (PartStage(second, work), FOLDS),
    "third": (PartStage(third, work, shards=lambda *_: 2), [*FOLDS, Part("test")]),
}


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))

    def make(*overrides, restart=False):
        return Run(load_config(DEMO, ["name=r", *overrides]), restart=restart)

    return make


def tasks_of(run, stages=STAGES):
    steps = plan(run, stages)
    tasks, _ = as_tasks(run, steps, ThisMachine("auto", use_gpus=False), ("--config", "c"))
    run.planned.clear()
    return tasks


def do(run, stages=STAGES):
    """Do all tasks in this process, in a legal order; return their labels."""
    done = []
    for task, step in tasks_of(run, stages).items():
        assert all(before.label in done for before in task.after)
        job = step.job(run)
        if task.part == str(step.part) and run.has_work(job):
            assert run.begin(job)
            step.stage.work(run, job, step.part)
        done.append(task.label)
    return done


def test_a_part_comes_after_what_its_job_reads(make_run):
    after = {t.label: [before.label for before in t.after] for t in tasks_of(make_run())}
    assert after["first fold 0"] == []
    assert after["second fold 1"] == ["first fold 1"]
    assert after["third/oof fold 0 shard 1/2"] == ["second fold 0"]
    assert after["third/oof fold 0"] == ["third/oof fold 0 shard 0/2", "third/oof fold 0 shard 1/2"]
    assert after["third/test shard 0/2"] == ["second fold 0", "second fold 1"]


def test_cores_are_divided_stage_by_stage(make_run):
    cores = {task.label: task.cores for task in tasks_of(make_run())}
    assert (cores["first fold 0"], cores["third/test shard 0/2"]) == (2, 1)
    task = next(iter(tasks_of(make_run())))
    assert task.command == ("pipeline.first", "--folds", "0", "--config", "c")
    assert task.log == Path("runs/r/logs/first-0.log")


def test_what_is_done_is_not_planned(make_run):
    do(make_run(), {"first": STAGES["first"]})
    labels = [task.label for task in tasks_of(make_run())]
    assert "first fold 0" not in labels
    assert labels[0] == "second fold 0"
    do(make_run())
    assert do(make_run()) == []


def test_what_was_finished_for_something_else_is_refused_before_all(make_run):
    do(make_run())
    (Path("runs/r/first/fold1/manifest.json")).unlink()
    with pytest.raises(ArtifactError, match=r"finetune.epochs was 1, now 9"):
        plan(make_run("finetune.epochs=9"), STAGES)


def test_what_nobody_is_to_finish_is_missing(make_run):
    with pytest.raises(ArtifactError, match="missing, so first fold 0 is not finished"):
        plan(make_run(), {"second": STAGES["second"]})


def test_inputs_made_anew_with_the_same_bytes_leave_no_work(make_run):
    do(make_run())
    (Path("runs/r/first/fold1/manifest.json")).unlink()
    before = Path("runs/r/second/fold1/manifest.json").stat().st_mtime_ns
    assert "second fold 1" in do(make_run())
    assert Path("runs/r/second/fold1/manifest.json").stat().st_mtime_ns == before


def test_a_restart_plans_all_and_is_undone_where_nothing_began(make_run):
    do(make_run())
    made = {path: path.read_bytes() for path in Path("runs/r").rglob("*.*")}
    run = make_run(restart=True)
    steps = plan(run, STAGES)
    run.planned.clear()
    assert len(steps) == 7
    for step in steps:
        run.claim(step.planned)
        run.start_over(step.planned)
    assert not list(Path("runs/r").glob("[fst]*/**/manifest.json"))
    run.bring_back()
    assert {path: path.read_bytes() for path in made} == made
    assert len(do(make_run(restart=True))) == 13
