"""Run the parts of a stage side by side, and watch them.

Tasks and an engine enter; the engine starts each task's processes, on this machine or on a cluster.
Every task has its own log, and a line in one table on a terminal; elsewhere the logs' lines come as
they are written. The first failure stops the others, and its exit code is the whole's.
"""

import logging
import signal
import time
from collections import deque
from collections.abc import Sequence

from pipeline.errors import Stopped
from pipeline.jobs.board import board_for, end_of
from pipeline.jobs.tasks import POLL_S, Engine, Task, Work, end

LOG = logging.getLogger(__name__)
TAIL_LINES = 20


def launch(tasks: Sequence[Task], engine: Engine) -> int:
    """Run all `tasks`; return 0, or the exit code of the first that failed.

    Raises:
        Stopped: SIGTERM or Ctrl-C came; the tasks were asked to save, and have ended.
    """
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.touch()
        task.progress.unlink(missing_ok=True)
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        failure = _first_failure(tasks, engine)
    except KeyboardInterrupt:
        raise Stopped("stopped, and what was running with it.") from None
    finally:
        for number, handler in zip(numbers, before, strict=True):
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


def _first_failure(tasks: Sequence[Task], engine: Engine) -> tuple[Task, int] | None:
    """Run `tasks` until all are done, or until one fails: then return it and its exit code."""
    waiting, running = deque(tasks), dict[Task, Work]()
    states = dict.fromkeys(tasks, "waiting")
    with board_for(states) as board:
        try:
            while waiting or running:
                while waiting and (work := engine.start(waiting[0])) is not None:
                    states[waiting[0]] = "running"
                    running[waiting.popleft()] = work
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
