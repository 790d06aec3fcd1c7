"""The panels of a run's page, each from the records it names.

A panel asks for its records and says what they show: plots, tables, a sentence. What it cannot
read or understand is its own misfortune: `build` turns it into a panel that names the problem,
and the rest of the page stands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import PipelineError
from pipeline.kaggle.ledger import read_ledger
from pipeline.report import charts
from pipeline.report.curves import submissions
from pipeline.report.figures import Drawing
from pipeline.report.records import Records

Made = TypeVar("Made")

LEADERBOARD = {
    "all-empty file": 0.76566,
    "public kernel": 0.83344,
    "50th place": 0.84679,
    "10th place": 0.85178,
    "1st place": 0.85448,
}
"""Private scores of the real competition. Source: Kaggle's private leaderboard."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A panel of a page: a heading, a sentence, plots and tables, or what is wrong with it."""

    key: str
    title: str
    lead: str = ""
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    problem: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def attempt(make: Callable[..., Made], *arguments: Any) -> tuple[Made | None, str]:  # noqa: ANN401
    """Return what `make` makes of some records and "", or None and what is wrong with them."""
    try:
        return make(*arguments), ""
    except PipelineError as error:
        return None, str(error)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        return None, (
            f"The records are whole but not what this page expects: {type(error).__name__}: "
            f"{error}. They may be of another version: run their stage again."
        )


def build(key: str, title: str, make: Callable[..., Panel], *arguments: Any) -> Panel:  # noqa: ANN401
    """Make a panel, or one that says why it cannot be made."""
    panel, problem = attempt(make, key, title, *arguments)
    return panel or Panel(key, title, problem=problem)


def glance(key: str, title: str, records: Records) -> Panel:
    """Say how good the run is, beside what is known, and what it cost."""
    scores = records.read("calibrate/scores.json")
    shown = {"out-of-fold": (scores["f2"], scores["f2_standard_error"])}
    error, nothing = scores["f2_standard_error"], scores["f2_all_empty"]
    facts = {
        "f2": f"{scores['f2']:.4f}",
        "error": "" if error is None else f"± {error:.4f}",
        "gain": f"{scores['f2'] - nothing:+.4f} against {nothing:.4f} for “no object anywhere”",
        "F2 of images with objects": _score(scores["f2_ship_images"]),
        "F2 of empty images": _score(scores["f2_empty_images"]),
    }
    manifests = records.manifests()
    tested = next((m["metrics"] for m in manifests if "test_f2" in m["metrics"]), None)
    if tested is not None:
        shown["test images"] = (tested["test_f2"], None)
        facts["F2 of test images"] = _score(tested["test_f2"])
    trained = [m for m in manifests if m["stage"] in {"train", "finetune"}]
    # Version 0.3.0 did not record the precision.
    devices = {" in ".join(filter(None, [m["device"], m.get("precision")])) for m in trained}
    facts["time of all jobs"] = _duration(sum(m["wall_s"] for m in manifests))
    facts["trained on"] = ", ".join(sorted(devices)) or "–"
    config = records.find("config.yaml")
    if config is not None:
        network = config["network"]
        facts["network"] = " ".join(filter(None, [network["arch"], network["encoder"]]))
        epochs = f"{config['train']['epochs']} + {config['finetune']['epochs']} epochs"
        facts["training"] = f"{config['folds']['count']} folds, {epochs}"
    rendered = config is not None and config["data"]["root"] is None
    lead = "The leaderboard is of the competition's own images; this run is on the rendered demo."
    scale = charts.scale("Beside the leaderboard", shown, LEADERBOARD, nothing)
    return Panel(key, title, lead if rendered else "", drawings=[scale], facts=facts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def data(key: str, title: str, records: Records) -> Panel:
    """Show the training images, and how even the folds are."""
    counts = records.read("data/manifest.json")["metrics"]
    balance = records.read("split/manifest.json")["metrics"]["balance"]
    rows = [row for row in balance if row["fold"] != "all"]
    folds = [f"fold {row['fold']}" for row in rows]
    kinds = {"empty images": "empty_images", "images with ships": "ship_images"}
    sizes = [name for name in rows[0] if name.startswith("ships_")]
    lead = (
        f"{counts['train_images']:,} training images with {counts['ships']:,} objects, "
        f"{counts['test_images']:,} to predict, {counts['left_out']:,} left out. Tiles that "
        "overlap form a group, and a group is in one fold."
    )
    images = {name: [row[column] for row in rows] for name, column in kinds.items()}
    ships = {size.removeprefix("ships_"): [row[size] for row in rows] for size in sizes}
    header = ["fold", "groups", "largest group", "images", "with ships", "ships"]
    columns = ("fold", "groups", "largest_group", "images", "ship_images", "ships")
    cells = [[_count(row[column]) for column in columns] for row in balance]
    drawings = [
        charts.shares("Images per fold", folds, images, "images"),
        charts.shares("Ships per fold, by size", folds, ships, "ships"),
    ]
    return Panel(key, title, lead, drawings, [Table(header, cells)])


def _count(value: Any) -> str:  # noqa: ANN401  text or a number
    return value if isinstance(value, str) else f"{value:,}"


def board(key: str, title: str, ledger: Path) -> Panel:
    """Lay the out-of-fold F2 of earlier submissions beside their scores at Kaggle."""
    rows = [row for row in read_ledger(ledger) if row.oof_f2 is not None]
    if not rows:
        return Panel(key, title, f"{ledger} names no submission yet.")
    header = ["submission", "created", "out-of-fold", "public", "private", "private − out-of-fold"]
    cells = [
        [
            *(row.tag, row.created_utc[:16].replace("T", " ")),
            *(_score(row.oof_f2), _score(row.public_score), _score(row.private_score)),
            _difference(row.private_score, row.oof_f2),
        ]
        for row in rows
    ]
    scored = [row for row in rows if (row.public_score, row.private_score) != (None, None)]
    if not scored:
        lead = "No submission has a score yet: `--upload` sends one, `--scores` asks again."
        return Panel(key, title, lead, tables=[Table(header, cells)])
    lead = "If the differences are alike, a better out-of-fold F2 is a better private score."
    drawing = submissions("Out-of-fold F2 and the leaderboard", scored)
    return Panel(key, title, lead, [drawing], [Table(header, cells)])


def _difference(left: float | None, right: float | None) -> str:
    return "–" if left is None or right is None else f"{left - right:+.4f}"
