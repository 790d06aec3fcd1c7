"""Measure what only a card can tell; `tests/bench/gpu.sh` calls this.

Each part has a minute, all together have less than eight. The table goes to the terminal as it
grows; with the machine, and each part's seconds and errors, it goes to a JSON file. Exit codes: 0
if all parts are done, but for Lightning's where that is not installed; 1 if not; 2 for wrong
arguments, or without a card.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tests import forked
from tests.bench.gpu.part import Number
from tests.bench.machine import processor

ROOT = Path(__file__).parents[3]
MODULES = {
    "speed": [
        *("loop", "lightning", "algorithms", "compiled", "prediction", "shares", "loaders"),
        "lovasz",
    ],
    "behaviour": ["memory", "fp16", "kill"],
}
PARTS = {
    name: f"tests.bench.gpu.{module}:{name}" for module, names in MODULES.items() for name in names
}
LIMIT_S, TOTAL_S = 60, 460
OPTIONAL = {"lightning"}  # the project does not need it


def main(argv=None, parts=PARTS, limit_s=LIMIT_S):
    """Measure the parts that are asked for; return the exit code."""
    arguments = _arguments(argv, parts)
    if not (arguments.small or torch.cuda.is_available()):
        print(
            f"gpu: expected a CUDA card; torch {torch.__version__} sees none. --small tries all "
            "parts on the processor.",
            file=sys.stderr,
        )
        return 2
    end = time.monotonic() + TOTAL_S
    report = {"machine": _machine(arguments), "parts": {}}
    print(*(f"{name}: {value}" for name, value in report["machine"].items()), sep="\n")
    print("\n| part | what | value | goal | |\n|---|---|---|---|---|", flush=True)
    warm = forked.SERVER.Process(target=time.sleep, args=(0,))  # imports before the first minute
    warm.start()
    warm.join()
    for name in arguments.parts:
        left_s = min(limit_s, end - time.monotonic())
        outcome = report["parts"][name] = _run(parts[name], left_s, small=arguments.small)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        for line in outcome["numbers"]:
            print(_row(name, Number(**line), judged=not arguments.small))
        word = outcome["state"] if _is_fine(outcome) else outcome["state"].upper()
        print(f"| {name} | {word}, {outcome['seconds']:.0f} s | | | |", flush=True)
    for name, outcome in report["parts"].items():
        if outcome["said"]:
            print(f"\n{name} {outcome['state']}: {outcome['said']}")
    return int(not all(map(_is_fine, report["parts"].values())))


def _is_fine(outcome):
    return outcome["state"] == "done" or outcome["missing"] in OPTIONAL


def _arguments(argv, parts):
    def names(text):
        unknown = set(text.split(",")) - set(parts)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"expected some of {','.join(parts)}, got {','.join(sorted(unknown))}"
            )
        return text.split(",")

    parser = argparse.ArgumentParser(
        prog="gpu.sh", description=f"Measure what only a card can tell. Parts: {', '.join(parts)}."
    )
    parser.add_argument("--only", type=names, default=list(parts), metavar="PART,PART")
    parser.add_argument("--skip", type=names, default=[], metavar="PART,PART")
    parser.add_argument("--small", action="store_true", help="smallest sizes, on the processor")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="default %(default)s")
    parser.add_argument("--commit", default="unknown", help="of the code, for the report")
    arguments = parser.parse_args(argv)
    arguments.parts = [name for name in arguments.only if name not in arguments.skip]
    if not arguments.parts:
        parser.error("--only and --skip leave no part")
    return arguments


def _machine(arguments):
    """Say what is measured on."""
    card = driver = "none"
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        card, driver = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB", "unknown"
        with suppress(OSError):
            asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"]
            driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return {
        "card": card,
        "driver": driver.strip(),
        "processor": f"{len(os.sched_getaffinity(0))} cores of {processor()}",
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "not as pinned": ", ".join(_not_as_pinned()) or "nothing",
        "commit": arguments.commit,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "small": arguments.small,
    }


def _not_as_pinned():
    """Name the libraries that are missing, or there in another version than the project's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, _, pinned in (pin.partition("==") for pin in project["dependencies"]):
        try:
            found = version(name).partition("+")[0]
        except PackageNotFoundError:
            found = "missing"
        if found != pinned:
            yield f"{name} {found}"


def _run(place, limit_s, *, small):
    """Run a part to its end, or to the end of its time; return what came of it."""
    outcome = {"state": "no time", "seconds": 0.0, "numbers": [], "missing": None, "said": ""}
    if limit_s <= 0:
        return outcome | {"said": "the time of all parts was over before it began"}
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as folder:
        results, log = Path(folder) / "results", Path(folder) / "log"
        results.touch()
        environment = os.environ | {"SMALL": "1" if small else "0"}
        started = time.monotonic()
        process = forked.start(
            *(ROOT, environment, log, "tests.bench.gpu.part"), place, str(results)
        )
        try:
            process.join(limit_s)
            outcome["seconds"], code = round(time.monotonic() - started, 1), process.exitcode
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left running, too
            process.kill()
            process.join()
        for line in map(json.loads, results.read_text(encoding="utf-8").splitlines()):
            if "missing" in line:
                outcome |= line
            else:
                outcome["numbers"].append(line)
        printed = log.read_text(errors="replace").strip()[-3000:] if log.is_file() else ""
    if code is None:
        said = f"ended after {limit_s:.0f} s. It printed:\n{printed}"
        return outcome | {"state": "overran", "said": said}
    if code != 0:
        said = f"exit code {code}. It printed:\n{printed}"
        return outcome | {"state": "failed", "said": said}
    if outcome["missing"]:
        return outcome | {"state": "skipped", "said": f"{outcome['missing']} is not installed"}
    return outcome | {"state": "done"}


def _row(part, number, *, judged):
    """Write a number and its goal as a line of the table."""
    goal = verdict = ""
    if number.at_least is not None:
        goal, reached = f">= {number.at_least:.3g}", number.value >= number.at_least
    elif number.at_most is not None:
        goal, reached = f"<= {number.at_most:.3g}", number.value <= number.at_most
    if goal and judged:
        verdict = "reached" if reached else "MISSED"
    return f"| {part} | {number.what} | {number.value:.4g} {number.unit} | {goal} | {verdict} |"


if __name__ == "__main__":
    sys.exit(main())
