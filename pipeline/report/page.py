"""One self-contained file of HTML from a page's panels and its tiles: no network, no folder."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from pipeline.maps import map_path
from pipeline.report import judging, learning, panels
from pipeline.report.gallery import Layer, Tiles, galleries_of, show
from pipeline.report.outcomes import Outcomes, outcomes_of
from pipeline.report.panels import Panel, attempt, build
from pipeline.report.records import Records

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

    def scored(key: str, title: str, make: Callable[..., Panel], *more: Any) -> Panel:  # noqa: ANN401
        if outcomes is None:
            return Panel(key, title, problem=trouble)
        return build(key, title, make, outcomes, *more)

    made = [
        build("glance", "Score", panels.glance, records),
        scored("lost", "Where F2 is lost", judging.lost),
        build("data", "Data and folds", panels.data, records),
        build("learning", "Learning", learning.learning, records),
        scored("thresholds", "Over thresholds", judging.thresholds, records),
        build("classes", "By size, count, fold", judging.classes, records),
        build("rules", "What calibration chose", judging.rules, records),
        build("board", "Submissions", panels.board, ledger),
    ]
    gallery = None
    if outcomes is not None:
        gallery, trouble = attempt(_gallery, records, outcomes)
    troubles = [*records.problems.values(), trouble, *(panel.problem for panel in made)]
    problems = [text for text in dict.fromkeys(troubles) if text]
    page = render(
        "run.html",
        title=f"Run {records.name}",
        name=records.name,
        panels={panel.key: panel for panel in made},
        gallery=gallery,
        trouble=trouble,
        problems=problems,
    )
    return page, problems


def _gallery(records: Records, outcomes: Outcomes) -> dict[str, Any]:
    catalog = records.catalog()
    layers = [
        Layer("true", "true ships", "true", catalog.objects()),
        Layer("predicted", "predicted ships", "predicted", ships_of(records)),
    ]
    images = outcomes.images.set_index("ImageId")

    indexes = records.folds("predict/oof", "index.csv")

    def path_of_map(image_id: str) -> Path:
        fold = int(images.fold[image_id])
        folder = records.folder / "predict" / "oof" / f"fold{fold}"
        return map_path(folder, image_id, by_stem="sha256" not in indexes.get(fold, ()))

    galleries, tiles = galleries_of(outcomes), Tiles(catalog, layers, path_of_map)
    chosen = {image_id for gallery in galleries for image_id in gallery.image_ids}
    rows = outcomes.images[outcomes.images.ImageId.isin(chosen)].itertuples()
    known = {str(row.ImageId): _known(row) for row in rows}
    sorts = {
        "f2": "F2",
        "largest_px": "largest ship",
        "n_true": "true ships",
        "n_predicted": "predicted ships",
        "max_probability": "highest probability",
    }
    shown = show(galleries, tiles, known, sorts)
    if tiles.unread:
        first = next(iter(tiles.unread.values()))
        records.problems["images"] = f"{len(tiles.unread)} images cannot be shown; {first}"
    return shown


def _known(image: Any) -> dict[str, Any]:  # noqa: ANN401  a row of `Outcomes.images`
    """Return what the script needs of an image; what is not known is null."""
    sure = float(image.max_probability)
    return {
        "fold": int(image.fold),
        "f2": round(float(image.f2), 4),
        "score": f"{image.f2:.3f}",
        "n_true": int(image.n_true),
        "n_predicted": int(image.n_predicted),
        "largest_px": int(image.largest_px),
        "max_probability": None if math.isnan(sure) else sure,
        "caption": f"{image.n_true} true, {image.n_predicted} predicted",
    }


def ships_of(records: Records) -> dict[str, list[str]]:
    """Return the run's out-of-fold objects of each image."""
    rows = records.read("calibrate/oof_instances.csv")
    objects = rows[rows.EncodedPixels != ""]
    grouped: dict[str, list[str]] = objects.groupby("ImageId").EncodedPixels.agg(list).to_dict()
    return grouped


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
