"""One self-contained file of HTML from a page's panels and its tiles: no network, no folder."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import judging, learning, panels
from pipeline.report.confidence import confidence
from pipeline.report.gallery import filters_of, galleries_of, known_of
from pipeline.report.outcomes import LAYER, Outcomes, outcomes_of
from pipeline.report.panels import Panel, attempt, build
from pipeline.report.parts import parts
from pipeline.report.records import Records, texts_of
from pipeline.report.sample import maps_of
from pipeline.report.tiles import Outlined, Tiles, show

TEMPLATES = Path(__file__).parent / "template"


def run_page(folder: Path, ledger: Path) -> tuple[bytes, list[str]]:
    """Render a run from what it recorded.

    Args:
        folder: `runs/<name>`.
        ledger: `submissions/ledger.csv`; it need not exist.

    Returns:
        The page, and what is wrong with the records.
    """
    records = Records(folder)
    outcomes, trouble = attempt(outcomes_of, records)
    task, _ = attempt(lambda: records.task)
    score = "score" if task is None else task.score

    def scored(key: str, title: str, make: Callable[..., Panel]) -> Panel:
        if outcomes is None:
            return Panel(key, title, problem=trouble)
        return build(key, title, make, outcomes, records)

    made = [
        build("glance", "Score", panels.glance, records),
        scored("lost", f"Where {score} is lost", judging.lost),
        build("data", "Data and folds", panels.data, records),
        build("learning", "Learning", learning.learning, records),
        scored("thresholds", "Thresholds", judging.thresholds),
        scored("confidence", "Confidence", confidence),
        scored("parts", "By size and fold", parts),
        build("rules", "Rules", judging.rules, records),
        build("board", "Submissions", panels.board, records, ledger),
        build("configuration", "Configuration", panels.configuration, records, ledger),
    ]
    gallery = None
    if outcomes is not None:
        gallery, trouble = attempt(_gallery, records, outcomes)
    troubles = [*records.problems.values(), trouble, *(panel.problem for panel in made)]
    problems = [text for text in dict.fromkeys(troubles) if text]
    page = render(
        "run.html",
        title=f"Run {records.name}",
        score=score,
        panels={panel.key: panel for panel in made},
        gallery=gallery,
        trouble=trouble,
        problems=problems,
    )
    return page, problems


def _gallery(records: Records, outcomes: Outcomes) -> dict[str, Any]:
    task, layers = records.task, outcomes.layers
    outlined = [
        Outlined("true", f"true {task.drawn}", "true", texts_of(records.truth())),
        Outlined(
            "predicted", f"predicted {task.drawn}", "predicted", texts_of(records.predicted())
        ),
    ]
    galleries = galleries_of(outcomes, objects=task.competition.objects)
    sizes = outcomes.matches.sizes
    tiles = Tiles(task, records.catalog(), sizes, outlined, maps_of(records))
    rows = layers.set_index(LAYER, drop=False)
    known = {
        tile: known_of(rows.loc[tile], task, math.prod(sizes[tile[0]]))
        for tile in dict.fromkeys(tile for gallery in galleries for tile in gallery.tiles)
    }
    sorts = {"score": task.score}
    if layers.max_probability.notna().any():
        sorts["max_probability"] = "highest probability"
    if task.competition.objects:
        sorts |= {
            "largest_px": f"largest {task.one}",
            "n_true": f"true {task.many}",
            "n_predicted": f"predicted {task.many}",
        }
    else:
        sorts["true_px"] = "true area"
    filters = filters_of(task, sorted(set(layers.fold)))
    shown = show(galleries, tiles, known, sorts, filters)
    if tiles.unread:
        first = next(iter(tiles.unread.values()))
        records.problems["images"] = f"{len(tiles.unread)} images cannot be shown; {first}"
    return shown


def render(template: str, **values: Any) -> bytes:  # noqa: ANN401  whatever the template shows
    """Fill a template, as UTF-8; styles and scripts come from the files beside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = _script_json
    return environment.get_template(template).render(**values).encode()


def _script_json(value: Any) -> str:  # noqa: ANN401  any JSON value
    """Write JSON that no text in it can end the script element around it with."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
