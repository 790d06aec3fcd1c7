"""Print every network a configuration may name: paper, size, and speed on this machine.

Sizes and speeds are those of one crop of the configuration's size. With --all, print what was
measured of the encoders instead, the smallest of each family: which images they take, their size,
and whether there are weights for them.
"""

import sys
from dataclasses import astuple
from pathlib import Path

from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.networks.measured import COLUMNS, read_encoders
from pipeline.networks.table import BATCH_SIZE, Row, rows

_COLUMNS = "{:14} {:24} {:28} {:>9} {:>8} {:>10} {:>8}\n"
_HEAD = ("network", "encoder", "paper", "params M", "GMACs", "forward/s", "train/s")


def main() -> None:
    """Read the command line, measure, and print a line as soon as it is known."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--config", type=Path, default=Path("configs/demo.yaml"), help="default: %(default)s"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="crops.size_px=256")
    parser.add_argument("--all", action="store_true", help="print the table of encoders")
    arguments = parser.parse_intermixed_args()
    if arguments.all:
        _print_encoders()
        return
    with exit_codes(resumes=False):
        config = load_config(arguments.config, arguments.overrides)
        device = Device.choose(config.machine)
        size_px, _ = config.crops.fixed_sizes()
        sys.stdout.write(f"{size_px} x {size_px} px, {device.name}, {BATCH_SIZE} images a batch\n")
        sys.stdout.write(
            _COLUMNS.format(
                "network", "encoder", "paper", "params M", "GMACs", "forward/s", "train/s"
            )
        )
        for row in rows(config, device):
            sys.stdout.write(_line(row))
            sys.stdout.flush()


def _print_encoders() -> None:
    lines = [COLUMNS, *map(astuple, read_encoders())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _line(row: Row) -> str:
    named = row.arch, row.encoder, row.paper
    if row.problem:
        return _COLUMNS.format(*named, "-", "-", "-", "-") + f"  {row.problem}\n"
    numbers = (
        f"{row.parameters / 1e6:.2f}",
        f"{row.macs / 1e9:.2f}",
        f"{row.forward_per_s:.1f}",
        f"{row.step_per_s:.1f}",
    )
    return _COLUMNS.format(*named, *numbers)


if __name__ == "__main__":
    main()
