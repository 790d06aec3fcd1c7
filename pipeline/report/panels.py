"""The panels of a run's page, each from the records it names.

A panel asks for its records and says what they show: plots, tables, a sentence. What it cannot
read or understand is its own misfortune: `build` turns it into a panel that names the problem,
and the rest of the page stands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.config.competitions import FIRST
from pipeline.errors import PipelineError
from pipeline.kaggle.ledger import read_ledger
from pipeline.report import charts
from pipeline.report.curves import Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.records import Records

Made = TypeVar("Made")

LONG = 100
"""Letters of a setting that are written out."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row. A long one is folded away."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    folded: bool = False


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
    scores, task = records.scores(), records.task
    error, nothing = scores["score_standard_error"], scores["score_all_empty"]
    shown = {"out-of-fold": (scores["score"], error)}
    facts = {
        "score": f"{scores['score']:.4f}",
        "error": "" if error is None else f"± {error:.4f}",
        "gain": f"{scores['score'] - nothing:+.4f} against {nothing:.4f} for “nothing anywhere”",
        f"{task.score} of images with {task.many}": _score(scores["score_object_images"]),
        f"{task.score} of empty images": _score(scores["score_empty_images"]),
    }
    tested = records.test_score()
    if tested is not None:
        shown["test images"] = (tested, None)
        facts[f"{task.score} of test images"] = _score(tested)
    manifests = records.manifests()
    trained = [m for m in manifests if m["stage"] in {"train", "finetune"}]
    # Version 0.3.0 did not record the precision.
    devices = {" in ".join(filter(None, [m["device"], m.get("precision")])) for m in trained}
    facts["time of all jobs"] = duration(sum(m["wall_s"] for m in manifests))
    facts["trained on"] = ", ".join(sorted(devices)) or "–"
    config, marks = records.read("config.yaml"), task.competition.marks
    network = config["network"]
    facts["network"] = " ".join(filter(None, [network["arch"], network["encoder"]]))
    epochs = f"{config['train']['epochs']} + {config['finetune']['epochs']} epochs"
    facts["training"] = f"{config['folds']['count']} folds, {epochs}"
    rendered = marks and config["data"]["root"] is None
    lead = "The leaderboard is of the competition's own images; this run is on the rendered demo."
    heading = "Beside the leaderboard" if marks else "Beside the empty answer"
    scale = charts.scale(heading, shown, marks, nothing, task.score)
    return Panel(key, title, lead if rendered else "", drawings=[scale], facts=facts)


def duration(seconds: float) -> str:
    """Write a time as one says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def data(key: str, title: str, records: Records) -> Panel:
    """Show the training images, and how even the folds are."""
    task, counts = records.task, records.metrics("data")
    balance = records.metrics("split")["balance"]
    rows = [row for row in balance if row["fold"] != "all"]
    folds = [f"fold {row['fold']}" for row in rows]
    kinds = {"empty images": "empty_images", f"images with {task.many}": "object_images"}
    sizes = [name for name in rows[0] if name.startswith("objects_")]
    objects = task.many if task.competition.objects else "masks"
    extra = f"{counts['extra_images']:,} of data.extra, " if "extra_images" in counts else ""
    lead = (
        f"{counts['train_images']:,} training images with {counts['objects']:,} {objects}, {extra}"
        f"{_count(counts['test_images'] or 'none')} to predict, {counts['left_out']:,} left out. "
        "Images that overlap form a group, and a group is in one fold."
    )
    images = {name: [row[column] for row in rows] for name, column in kinds.items()}
    by_size = {size.removeprefix("objects_"): [row[size] for row in rows] for size in sizes}
    header = ["fold", "groups", "largest group", "images", f"with {task.many}", objects]
    columns = ("fold", "groups", "largest_group", "images", "object_images", "objects")
    cells = [[_count(row[column]) for column in columns] for row in balance]
    drawings = [
        charts.shares("Images per fold", folds, images, "images"),
        charts.shares(f"{objects.capitalize()} per fold, by size", folds, by_size, objects),
    ]
    return Panel(key, title, lead, drawings, [Table(header, cells)])


def _count(value: Any) -> str:  # noqa: ANN401  text or a number
    return value if isinstance(value, str) else f"{value:,}"


def board(key: str, title: str, records: Records, ledger: Path) -> Panel:
    """Lay the out-of-fold score of earlier submissions beside their scores at Kaggle."""
    score, name = records.task.score, records.task.competition.name
    of_task = [row for row in read_ledger(ledger) if (row.competition or FIRST) == name]
    rows = [row for row in of_task if row.oof_score is not None]
    if not rows:
        return Panel(key, title, f"{ledger} names no submission to {name} yet.")
    header = ["submission", "created", "out-of-fold", "public", "private", "private − out-of-fold"]
    cells = [
        [
            *(row.tag, row.created_utc[:16].replace("T", " ")),
            *(_score(row.oof_score), _score(row.public_score), _score(row.private_score)),
            _difference(row.private_score, row.oof_score),
        ]
        for row in rows
    ]
    scored = [row for row in rows if (row.public_score, row.private_score) != (None, None)]
    if not scored:
        lead = "No submission has a score yet: `--upload` sends one, `--scores` asks again."
        return Panel(key, title, lead, tables=[Table(header, cells)])
    lead = f"If the differences are alike, a better out-of-fold {score} is a better private score."
    lines = []
    oof = np.array([row.oof_score for row in scored], float)
    for style, kind in enumerate(("private", "public")):
        y = np.array([getattr(row, f"{kind}_score") for row in scored], float)
        lines.append(Curve(f"{kind} score", oof, y, style, points=True))
    said = "; ".join(
        f"{row.run}: out-of-fold {row.oof_score}, public {row.public_score}, private "
        f"{row.private_score}"
        for row in scored
    )
    heading, x = f"Out-of-fold {score} and the leaderboard", f"out-of-fold {score}"
    drawing = curves(heading, lines, x, "score at Kaggle", said=said, equal=True)
    return Panel(key, title, lead, [drawing], [Table(header, cells)])


def _difference(left: float | None, right: float | None) -> str:
    return "–" if left is None or right is None else f"{left - right:+.4f}"


def configuration(key: str, title: str, records: Records, ledger: Path) -> Panel:
    """Say what the run was made with: loss, rates, versions, and every setting."""
    config = records.read("config.yaml")
    stages = [config["train"], config["finetune"]]
    losses = [
        " + ".join(f"{term['weight']:g} {term['name']}" for term in stage["loss"])
        for stage in stages
    ]
    versions: dict[str, set[str]] = {}
    for manifest in records.manifests():
        for name, version in manifest.get("versions", {}).items():
            versions.setdefault(name, set()).add(version)
    commits = {row.commit for row in read_ledger(ledger) if row.run == records.name and row.commit}
    rows = [
        ["loss", *losses],
        ["learning rate", *(f"{stage['learning_rate']:g}" for stage in stages)],
        ["weight decay", *(f"{stage['weight_decay']:g}" for stage in stages)],
        ["epochs", *(f"{stage['epochs']}" for stage in stages)],
    ]
    made = {
        "competition": records.task.competition.title,
        **{name: ", ".join(sorted(each)) for name, each in versions.items()},
        "commit that submitted it": ", ".join(sorted(commits)) or "not submitted yet",
    }
    tables = [
        Table(["", "training", "fine-tuning"], rows),
        Table(["made for and with", ""], list(made.items())),
        Table(["setting", "value"], list(flatten(config).items()), "Every setting", folded=True),
    ]
    return Panel(key, title, tables=tables)


def flatten(tree: Any, key: str = "") -> dict[str, str]:  # noqa: ANN401  a JSON or YAML value
    """Write a tree of settings as `dotted.key: value`; what is long is told by its length."""
    if isinstance(tree, dict) and tree:
        inner = (
            flatten(value, f"{key}.{name}" if key else str(name)) for name, value in tree.items()
        )
        return {name: value for part in inner for name, value in part.items()}
    text = str(tree)
    if len(text) <= LONG:
        return {key: text}
    return {key: f"{len(tree if isinstance(tree, list) else text.split()):,} values"}
