"""What the world does to runs, with counts of what came of it.

    python -m tests.bench.faults [KIND ...]

Kinds: kills of run.sh at random moments; pairs of processes at the same work; full and read-only
disks (as root, on a small tmpfs); damaged tables, images, outputs, YAML files and overrides, each
mutated from a seed. Every case is fine (the result of an undisturbed run, or an error with code 2
or 75 that leaves it to be reached), a traceback, a hang, or silently wrong.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from pipeline.config.load import load_config
from pipeline.errors import ConfigError
from pipeline.kaggle.ledger import LedgerRow, append_or_update, read_ledger
from tests.bench.sizes import sized
from tests.kaggle.kaggle_server import TOKEN, KaggleServer
from tests.stored_runs.make import SETTINGS

sys.path.append(str(Path(__file__).parents[1]))
from checkout import Checkout

# As the stored runs: in seconds, and with ships that a damaged file could change.
TINY = ("tests/tiny.yaml", *(f"{key}={value}" for key, value in SETTINGS.items()))
TINY += ("calibrate.candidate_selection=null",)
RUN = Path("runs") / "tiny"
ENDED_WELL = {0, 2, 75, 130}
HANG_S = 900  # ten times what the longest takes alone: other work beside it is no hang
VERDICTS = ("fine", "traceback", "hang", "silently wrong")


class Faults:
    """The undisturbed run, and the count of what came of each disturbed one."""

    def __init__(self, folder):
        self.folder = folder
        self.counts = Counter()

    @cached_property
    def whole(self):
        """The checkout with the undisturbed run."""
        whole = Checkout(self.folder / "whole")
        whole.run_in_one_process(*TINY)
        return whole

    @cached_property
    def wanted(self):
        """The undisturbed run's submission."""
        return self.submission(self.whole)

    @staticmethod
    def submission(checkout):
        """The content of the submissions that lie in a checkout; [] for none."""
        files = sorted((checkout.folder / "submissions").glob("*.csv"))
        return [sha256(path.read_bytes()).hexdigest() for path in files if path.stem != "ledger"]

    def fresh(self, *, finished=False):
        """A checkout without runs, or with the undisturbed one."""
        name = f"case{sum(self.counts.values())}-{time.monotonic_ns()}"
        checkout = Checkout(self.folder / name)
        for part in ("data", "folds", "runs", "submissions") if finished else ():
            shutil.copytree(self.whole.folder / part, checkout.folder / part)
        return checkout

    def count(self, kind, case, verdict, told=""):
        """Count a case, and say what is not fine."""
        self.counts[kind, verdict] += 1
        if verdict != "fine":
            print(f"{kind}: {case}: {verdict}: {told[-1500:]}", flush=True)

    def judge(self, kind, case, checkout, code, told):
        """Count a case whose end is known: its result is the undisturbed one, or none and told."""
        if code is None:
            verdict = "hang"
        elif code not in ENDED_WELL or "Traceback" in told:
            verdict = "traceback"
        elif code == 0 and self.submission(checkout) != self.wanted:
            verdict = "silently wrong"
        else:
            verdict = "fine"
        self.count(kind, case, verdict, told)

    def finish(self, kind, case, checkout, *overrides):
        """Let a disturbed run go on undisturbed, and count what comes of it."""
        self.judge(kind, case, checkout, *ended(checkout, "tests.all_stages", *TINY, *overrides))
        shutil.rmtree(checkout.folder)

    def table(self):
        """The counts as a table."""
        kinds = sorted({kind for kind, _ in self.counts})
        lines = [f"| kind | tried | {' | '.join(VERDICTS)} |", f"|---|{'---|' * 5}"]
        for kind in kinds:
            each = [self.counts[kind, verdict] for verdict in VERDICTS]
            lines.append(f"| {kind} | {sum(each)} | {' | '.join(map(str, each))} |")
        return "\n".join(lines)


def ended(checkout, *module):
    """Run a module to its end; return its code, None if it hangs, and what it printed."""
    process, log = checkout.start_module(*module)
    process.join(HANG_S)
    code = process.exitcode
    process.kill()
    return code, log.read_text(errors="replace")


def told_by(process):
    """Wait for run.sh; return its code, None if it hangs, and what it printed."""
    try:
        told = process.communicate(timeout=HANG_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, told


def still_there(group):
    """The command lines of a process group."""
    listed = subprocess.run(
        ["pgrep", "-a", "-g", str(group)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()


def kills(faults, chance):
    """Kill run.sh alone, or ask it to end, at a random moment; then let it finish."""
    for number in range(sized(12, 1)):
        checkout = faults.fresh()
        script = checkout.start(*TINY)
        time.sleep(chance.uniform(0.5, 25))
        asked = number % 2 == 1
        script.send_signal(signal.SIGTERM if asked else signal.SIGKILL)
        code, told = told_by(script) if asked else (script.wait(), "")
        # A process that has just begun to import is gone as soon as that is done, not before.
        end = time.monotonic() + 10
        while (left := still_there(script.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        verdict = "silently wrong" if left else "fine"
        if asked and (code not in {0, 75} or "Traceback" in told):
            verdict = "hang" if code is None else "traceback"
        faults.count("kill", f"{number}: {code}, left: {left}", verdict, told)
        faults.finish("kill, then on", number, checkout)


def pairs(faults, _chance):
    """Start two at the same work: one of them does it, or both share it."""
    for number in range(sized(4, 1)):
        for case in ("one run", "one demo", "--restart"):
            checkout = faults.fresh(finished=case == "--restart")
            second = {"one demo": ["name=other"], "--restart": ["--restart"]}.get(case, [])
            both = [checkout.start(*TINY), checkout.start(*TINY, *second)]
            codes, told = zip(*map(told_by, both), strict=True)
            verdict = "fine"
            if None in codes:
                verdict = "hang"
            elif {*codes} not in ({0}, {0, 2}) or "Traceback" in "".join(told):
                verdict = "traceback"
            elif case == "one demo" and (
                2 in codes or faults.submission(checkout) != 2 * faults.wanted
            ):
                verdict = "silently wrong"
            faults.count("pair", f"{case} {number}: {codes}", verdict, "".join(told))
            if case == "one demo":
                shutil.rmtree(checkout.folder)
            else:
                faults.finish("pair, then on", case, checkout)
    uploads(faults)
    ledger(faults)


def uploads(faults):
    """Upload one run twice at the same time: one submission."""
    with KaggleServer(archive=b"") as server:
        server.pending_looks = 0
        for number in range(sized(5, 1)):
            checkout = faults.fresh(finished=True)
            for path in (checkout.folder / "runs", checkout.folder / "submissions"):
                shutil.rmtree(path)
            (root,) = (checkout.folder / "data").glob("demo-*")
            root = root.rename(root.with_name("competition"))
            (root / "demo.json").unlink()  # which would not be sent
            own = (*TINY, f"name=up{number}", f"data.root={root}")
            checkout.run_in_one_process(*own)
            proxy = {"HTTP_PROXY": server.url, "http_proxy": server.url}
            checkout.environment |= proxy | {"KAGGLE_API_ENVIRONMENT": "LOCALHOST"}
            checkout.environment |= {"KAGGLE_API_TOKEN": TOKEN, "HOME": str(checkout.folder)}
            command = [*own, "--upload", "twice", "--from", "submit"]
            both = [checkout.start(*command) for _ in range(2)]
            told = "".join(told_by(process)[1] for process in both)
            sent = [one for one in server.submissions if f"[up{number}-" in one["description"]]
            fine = len(sent) == 1 and "Traceback" not in told
            faults.count("two uploads", number, "fine" if fine else "silently wrong", told)
            shutil.rmtree(checkout.folder)


def _write_rows(path, writer, rows):
    for number in range(rows):
        tag = f"{writer}-{number}"
        append_or_update(path, LedgerRow("", tag, tag, "", 0.5, "", "", tag))


def ledger(faults):
    """Let four write to one ledger at once: no row is lost."""
    path, rows, context = faults.folder / "ledger.csv", sized(20, 3), get_context("spawn")
    writers = [context.Process(target=_write_rows, args=(path, n, rows)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(HANG_S)
    there = len(read_ledger(path))
    lost = 4 * rows - there
    faults.counts["ledger rows", "fine"] += there
    faults.counts["ledger rows", "silently wrong"] += lost


@contextmanager
def small_disk(folder, size):
    """A disk of so many bytes."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def taken(folder):
    """The bytes that a folder takes of a disk, whole pages of each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def disks(faults, chance):
    """Run on disks that are full or read-only, then with space and permission."""
    if os.geteuid() != 0:
        print("disks: NOT TRIED: mounting a small disk needs root")
        return
    code, total = taken(faults.fresh().folder), taken(faults.whole.folder)
    for number in range(sized(12, 1)):
        room = code + int((total - code) * chance.uniform(0.02, 1))
        with small_disk(faults.folder / f"disk{number}", room):
            checkout = Checkout(faults.folder / f"disk{number}" / "project")
            faults.judge("full disk", number, checkout, *ended(checkout, "tests.all_stages", *TINY))
            remount(checkout.folder.parent, f"size={4 * total}")
            faults.finish("full disk, then on", number, checkout)
    with small_disk(faults.folder / "still", 4 * total):
        place = faults.folder / "still" / "project"
        checkout = Checkout(place)
        for part in ("data", "folds", "runs", "submissions"):
            shutil.copytree(faults.whole.folder / part, place / part)
        seen = [["pipeline.s7_report", "--config", *TINY], ["tests.all_stages", *TINY]]
        seen += [
            ["pipeline.s2_train", "--config", *TINY, "--restart"],
            ["tests.all_stages", *TINY],
        ]
        for number, module in enumerate(seen[: sized(4, 1)]):
            remount(place.parent, "ro")
            log = faults.folder / "read-only.log"
            with log.open("w") as file:
                command = [sys.executable, "-m", *module]
                done = subprocess.run(
                    command, cwd=place, stdout=file, stderr=file, timeout=HANG_S, check=False
                )
            told, looked = log.read_text(), "restart" not in " ".join(module)
            fine = "Traceback" not in told and done.returncode in ({0, 2} if looked else {2})
            faults.count("read-only", f"{number} {module}", "fine" if fine else "traceback", told)
            remount(place.parent, "rw")
        faults.finish("read-only, then on", "", checkout)


def mutated(content, chance):
    """Change bytes: flip, cut, repeat, insert what files are known to hold in the wild."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(max(len(content), 1))
        kind = chance.randrange(6)
        if kind == 0 and content:
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[place : place + chance.choice([1, 7, 100])]
        elif kind == 2:
            content[place:place] = content[place : place + 40]
        elif kind == 3:
            content[place:place] = chance.choice(
                [b"\xff", b"\r\n", b'"', b",", b"\n\n", b"NA", b"-1", b"nan", b"\xef\xbb\xbf", b" "]
            )
        elif kind == 4:
            content[place:] = b""
        else:
            lines = bytes(content).splitlines(keepends=True)
            chance.shuffle(lines)
            content = bytearray(b"".join(lines))
    return bytes(content)


def inputs(faults, chance):
    """Damage tables and images of the data: what stage 0 and 1 take is what the files say."""
    for number in range(sized(150, 3)):
        checkout = faults.fresh(finished=True)
        shutil.rmtree(checkout.folder / "runs")
        (root,) = (checkout.folder / "data").glob("demo-*")
        victims = [root / "train_ship_segmentations_v2.csv", root / "sample_submission_v2.csv"]
        victims += sorted(root.glob("*_v2/*.jpg"))[:6] + sorted(checkout.folder.glob("folds/*.csv"))
        path = victims[number % len(victims)]
        path.write_bytes(mutated(path.read_bytes(), chance))
        code, told = 0, ""
        for stage in ("pipeline.s0_data", "pipeline.s1_split"):
            if code == 0:
                code, told = ended(checkout, stage, "--config", *TINY, "data.max_bad_share=0.5")
        verdict = "hang" if code is None else "fine"
        if code not in {*ENDED_WELL, None} or "Traceback" in told:
            verdict = "traceback"
        elif code == 0 and lost(root, checkout):
            verdict = "silently wrong"
        faults.count("damaged input", f"{number} {path.name}", verdict, told)
        shutil.rmtree(checkout.folder)


def lost(root, checkout):
    """The rows of the truth that are neither used nor named in quarantine.csv."""
    rows = pd.read_csv(root / "train_ship_segmentations_v2.csv", dtype=str, keep_default_na=False)
    folder = checkout.folder / RUN / "data"
    used, quarantine = (
        pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        for name in ("instances.csv", "quarantine.csv")
    )
    known = {tuple(row) for row in used.to_numpy()}
    named = set(quarantine.ImageId)
    return [row for row in rows.to_numpy() if tuple(row) not in known and row[0] not in named]


def outputs(faults, chance):
    """Damage what a finished run wrote: it is refused, made anew, or makes no difference."""
    for number in range(sized(100, 2)):
        checkout = faults.fresh(finished=True)
        files = [path for path in (checkout.folder / "runs").rglob("*") if path.is_file()]
        files += [*(checkout.folder / "submissions").iterdir()]
        files += [file for file in (checkout.folder / "data").glob(".*/**/*") if file.is_file()]
        path = chance.choice(sorted(file for file in files if file.suffix not in {".log", ".html"}))
        path.write_bytes(mutated(path.read_bytes(), chance))
        case = f"{number} {path.relative_to(checkout.folder)}"
        if path.parent.name == "submissions" and path.name.startswith("tiny"):
            code, told = ended(checkout, "tests.all_stages", *TINY)
            fine = code == 2 and "Traceback" not in told
            faults.count("damaged output", case, "fine" if fine else "silently wrong", told)
            continue
        faults.finish("damaged output", case, checkout)


def _reads(task):
    """Load one configuration; return what came of it."""
    path, overrides = task
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(20)
    try:
        load_config(path, overrides)
    except ConfigError:
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def configurations(faults, chance):
    """Damage YAML files and overrides: a configuration, or an error that names its place."""
    text = Path("configs/demo.yaml").read_bytes()
    tokens = ["!x 1", "&a [*a]", "{a: {b: 1}}", "[" * 30, "2026-11-27", "1:30", "0x1f", "~", "''"]
    tokens += ["<<: {}", "? [a]", "'\\0'", '"\\0"', "x" * 300, "1e999", ".nan", "-", "|", "%", "@"]
    keys = ["name", "seed", "data.root", "train.loss", "augment", "network.encoder", "folds.count"]
    folder = faults.folder / "yaml"
    folder.mkdir()
    tasks = []
    for number in range(sized(400, 20)):
        path, overrides = Path("configs/demo.yaml"), []
        if number % 2:
            path = folder / f"{number}.yaml"
            line = chance.choice(tokens).encode()
            content = mutated(text, chance)
            path.write_bytes(content + b"\n" + chance.choice([b"", b"name: " + line, line]))
        else:
            overrides = [f"{chance.choice(keys)}={chance.choice(tokens)}" for _ in range(2)]
        tasks.append((path, overrides))
    with get_context("fork").Pool(1) as pool:
        for (path, overrides), told in zip(tasks, pool.imap(_reads, tasks), strict=True):
            faults.count("YAML", f"{path.name} {overrides}", "traceback" if told else "fine", told)


KINDS = {each.__name__: each for each in (configurations, outputs, inputs, pairs, kills, disks)}


def main():
    """Do the kinds that are asked for."""
    chosen = sys.argv[1:] or list(KINDS)
    with tempfile.TemporaryDirectory() as name:
        faults = Faults(Path(name))
        for kind in chosen:
            KINDS[kind](faults, random.Random(0))
            print(faults.table(), flush=True)


if __name__ == "__main__":
    main()
