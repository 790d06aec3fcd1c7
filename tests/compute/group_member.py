"""One process of a group that trains the network of `test_group`: see there."""

import sys
from pathlib import Path

from test_group import train_once

from pipeline.compute.group import Group
from pipeline.config.machine import Machine
from pipeline.jobs.command import exit_codes
from pipeline.jobs.tasks import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    folder, *overrides = sys.argv[1:]
    machine = Machine.model_construct(device="cpu")
    with exit_codes(), Group.joined(machine), exit_codes():
        train_once(Path(folder), *overrides)
