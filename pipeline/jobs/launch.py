"""Run tasks side by side, each after those whose results it reads, and watch them.

Tasks and an engine enter; the engine starts each task's processes, on this machine or on a cluster.
Every task has its own log, and a line in one table on a terminal; elsewhere the logs' lines come as
they are written. The first failure stops the others, and its exit code is the whole's.
"""

import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence

from pipeline.errors import Stopped
from pipeline.jobs.board import board_for, end_of
from pipeline.jobs.tasks import POLL_S, Engine, Task, Work, end, terminate

LOG = logging.getLogger(__name__)
TAIL_LINES = 20


def launch(
    tasks: Sequence[Task], engine: Engine, *, has_work: Callable[[Task], bool] = lambda _: True
) -> int:
    """Run all `tasks`; return 0, or the exit code of the first that failed.

    Args:
        tasks: Each stands behind those that it comes after.
        engine: Where they run.
        has_work: Asked about each task once those are done: if it says no, the task is done, too.

    Raises:
        Stopped: SIGTERM or Ctrl-C came; the tasks were asked to save, and have ended.
    """
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.touch()
        task.progress.unlink(missing_ok=True)
    handlers = {signal.SIGTERM: terminate, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        failure = _first_failure(tasks, engine, has_work)
    except KeyboardInterrupt:
        raise Stopped("stopped, and what was running with it.") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for task in tasks:
            task.progress.unlink(missing_ok=True)
    if failure is None:
        return 0
    task, code = failure
    LOG.error(
        "%s ended with exit code %d; the others were stopped. The end of %s:\n%s",
        *(task.label, code, task.log, end_of(task.log, TAIL_LINES)),
    )
    return code


def _first_failure(
    tasks: Sequence[Task], engine: Engine, has_work: Callable[[Task], bool]
) -> tuple[Task, int] | None:
    """Run `tasks` until all are done, or until one fails: then return it and its exit code."""
    waiting, ready, running = [*tasks], deque[Task](), dict[Task, Work]()
    states = dict.fromkeys(tasks, "waiting")
    with board_for(states) as board:
        try:
            while waiting or ready or running:
                for task in [*waiting]:
                    if all(states[before] == "done" for before in task.after):
                        waiting.remove(task)
                        if has_work(task):
                            ready.append(task)
                        else:
                            states[task] = "done"
                while ready and (work := engine.start(ready[0])) is not None:
                    states[ready[0]] = "running"
                    running[ready.popleft()] = work
                time.sleep(POLL_S)
                for task, work in list(running.items()):
                    code = work.poll()
                    if code is None:
                        continue
                    del running[task]
                    states[task] = "failed" if code else "done"
                    if code != 0:
                        return task, code
                board.show()
        finally:
            end(running.values())
            states.update(dict.fromkeys(running, "stopped"))
    return None
