"""What the server that tasks are forked from does first, and what only it may import.

It ends with its launcher, and its tasks with it. It leaves SIGTERM to them: a system that sends one
to every process means that they shall save. A fork has it blocked until it is ready for it.
"""

import os
import signal

from pipeline.compute.processes import end_with

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
end_with(os.getppid())
