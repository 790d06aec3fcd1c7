"""Stages in turn, in one process: `python -m pipeline.jobs s0_data,s1_split --config ...`."""

import sys

from pipeline.jobs.command import run_stages

if __name__ == "__main__":
    run_stages(*sys.argv.pop(1).split(","))
