"""Parts of consecutive stages as one queue: each starts as soon as what it reads is finished.

What a part reads its job says, also before that is there; of the parts that could start, those of
earlier stages come first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part, PartStage
from pipeline.jobs.run import Run
from pipeline.jobs.tasks import Engine, Task


@dataclass(frozen=True, eq=False)
class Step:
    """A part that may have work to do.

    Attributes:
        module: The stage's.
        stage: The stage.
        part: The part.
        planned: The part's job before all that it reads is finished.
    """

    module: str
    stage: PartStage
    part: Part
    planned: Job

    def job(self, run: Run) -> Job:
        """Return the part's job, now that all that it reads is finished."""
        job = self.stage.job(run, self.part)
        assert job is not None, "it was planned"
        return job


def plan(run: Run, stages: Mapping[str, tuple[PartStage, Sequence[Part]]]) -> list[Step]:
    """Return the parts that may have work to do; they are `run.planned` from now on.

    Args:
        run: The run.
        stages: By module and in order, each stage and its parts that are asked for.

    Raises:
        ArtifactError: A job was finished for something else, or reads what nobody finishes.
    """
    steps = []
    for module, (stage, parts) in stages.items():
        for part in parts:
            job = stage.job(run, part)
            if job is not None and run.has_work(job):
                run.planned.add(job.folder)
                steps.append(Step(module, stage, part, job))
    return steps


def as_tasks(
    run: Run, steps: Sequence[Step], engine: Engine, given: Sequence[str]
) -> tuple[dict[Task, Step], bool]:
    """Cut the parts into what processes of their own can do.

    Args:
        run: The run.
        steps: The parts.
        engine: Where the tasks would run.
        given: What each command line says: the configuration and what overrides it.

    Returns:
        The tasks, a part's shards before the part; and whether any run at the same time.

    Raises:
        ConfigError: A process needs more than any place has.
    """
    tasks: dict[Task, Step] = {}
    finishing: dict[Path, Task] = {}
    preload = tuple(dict.fromkeys(name for step in steps for name in step.stage.preload))
    side_by_side = False
    for stage, own in groupby(steps, key=lambda step: step.stage):
        processes = 1 if stage.shards else run.config.machine.processes_per_fold
        places = engine.places(processes)
        cut = {step: step.part.cut(_shards(run, step, places)) for step in own}
        at_once = min(places, sum(map(len, cut.values())))
        side_by_side = side_by_side or at_once * processes > 1
        task = partial(
            _task,
            logs=run.folder / "logs",
            given=given,
            processes=processes,
            cores=engine.cores(at_once, processes),
            preload=preload,
        )
        for step, parts in cut.items():
            read = [finishing[job.folder] for job in step.planned.inputs if job.folder in finishing]
            if len(parts) > 1:  # the whole puts together what its shards did
                read = [task(step, shard, after=tuple(read)) for shard in parts]
                tasks |= dict.fromkeys(read, step)
            whole = task(step, step.part, after=tuple(read))
            tasks[whole] = step
            finishing[step.planned.folder] = whole
    return tasks, side_by_side


def _shards(run: Run, step: Step, places: int) -> int:
    return (
        1 if step.stage.shards is None or places == 1 else step.stage.shards(run, step.part, places)
    )


def _task(step: Step, part: Part, *, logs: Path, given: Sequence[str], **of_stage: Any) -> Task:  # noqa: ANN401  as Task has them
    """Return the task that does `part`, which is the step's or a shard of it."""
    label, stage = step.planned.label, step.planned.stage.partition("/")[0]
    files = logs / f"{stage}-{str(part).translate({58: '-', 47: 'of'})}"
    return Task(
        label=label if part.shards == 1 else f"{label} shard {part.shard}/{part.shards}",
        stage=stage,
        part=str(part),
        command=(f"pipeline.{step.module}", "--folds", str(part), *given),
        log=files.with_suffix(".log"),
        progress=files.with_suffix(".json"),
        **of_stage,
    )
