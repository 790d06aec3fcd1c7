"""Stage 5: every threshold and rule of each class, and the out-of-fold score.

Reads the out-of-fold maps and the truth. Writes `runs/<name>/calibrate/`: rules.json (for the test
images, and the cross-fitted ones of each fold), oof_instances.csv, scores.json, and
confidence.json, which says how likely an object that was found is a true one. Rules are fitted on
K-1 folds and scored on the held one, so the score printed here is one a leaderboard could give.
"""

import logging
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.calibration import Calibrate
from pipeline.jobs.artifacts import write_json
from pipeline.jobs.command import run_stages
from pipeline.jobs.run import Run
from pipeline.maps import as_level

if TYPE_CHECKING:
    from pipeline.calibration.calibrate import Calibration
    from pipeline.calibration.search import RuleGrid, Sums
    from pipeline.inference.probmaps import MapReader
    from pipeline.maps import ImageMaps
    from pipeline.metrics.metric import Metric

LOG = logging.getLogger("pipeline.s5_calibrate")


def _out_of_fold_maps(
    readers: dict[int, "MapReader"], layer: int
) -> Iterator[tuple[str, int, "ImageMaps | None"]]:
    """Go through (ImageId, fold, maps of one class) of every training image."""
    for fold, reader in readers.items():
        for image_id in reader.image_ids:
            yield image_id, fold, reader.read(image_id, layer)


def stage(run: Run) -> None:
    """Fit the rules by the metric in force, class by class, cross-fitted over the folds."""
    from pipeline.metrics.registry import find_metric
    from pipeline.metrics.summaries import headline, in_words
    from pipeline.selection.rules import FORMAT

    data, split = run.result("data"), run.result("split")
    folds = range(run.config.folds.count)
    maps = [run.result("predict/oof", fold=fold) for fold in folds]
    files = {"format of rules.json": str(FORMAT)}
    job = run.job("calibrate", sections=("calibrate",), inputs=[data, split, *maps], files=files)
    metric = find_metric(run.config.task.metric)
    names = headline(metric)
    if run.begin(job):
        scores = _calibrate(run, job.folder, metric)
        job.finish(
            ["rules.json", "oof_instances.csv", "scores.json", "confidence.json"],
            {name: scores[name] for name in names},
        )
    metrics = job.manifest["metrics"]
    LOG.info("out-of-fold %s", in_words(metric, *(metrics[name] for name in names)))


def _calibrate(run: Run, folder: Path, metric: "Metric") -> dict[str, Any]:
    from pipeline.calibration.calibrate import calibrate
    from pipeline.calibration.together import calibrate_classes, score_together
    from pipeline.config.fields import CHANNELS
    from pipeline.data.catalog import Catalog
    from pipeline.data.folds import read_folds
    from pipeline.inference.probmaps import MapReader
    from pipeline.masks.instances import of_class, write_instances
    from pipeline.metrics.coefficients import score_pixels
    from pipeline.selection.classes import classes_to_json, join_classes
    from pipeline.selection.workers import worker_count

    catalog, task = Catalog.of(run), run.config.task
    folds = read_folds(run.result("split").checked("folds.csv"))
    sizes, settings = catalog.mask_sizes, run.config.calibrate
    contact = CHANNELS[run.config.targets.kind] > 1
    readers = {
        fold: MapReader(
            run.result("predict/oof", fold=fold),
            folds.ImageId[folds.fold == fold].tolist(),
            sizes,
            contact=contact,
            classes=len(task.classes),
        )
        for fold in range(run.config.folds.count)
    }

    def fit(class_id: str, beside: "Sums | None") -> "Calibration":
        return calibrate(
            _out_of_fold_maps(readers, task.classes.index(class_id)),
            of_class(catalog.masks, class_id),
            sizes,
            candidates(settings, contact=contact),
            metric=metric,
            objects=task.objects,
            learning=settings.candidate_selection,
            seed=run.config.seed,
            groups=dict(zip(folds.ImageId, folds.group, strict=True)),
            beside=beside,
            jobs=worker_count(len(folds)),
        )

    found = calibrate_classes(task.classes, metric, fit)
    for class_id, each in found.items():
        where = f"calibrate, class {class_id}" if len(task.classes) > 1 else "calibrate"
        _tell(each, where, image_head=run.config.image_head.weight > 0)
    instances = join_classes({class_id: each.instances for class_id, each in found.items()})
    scores, matches = score_together(found, catalog.masks, instances, folds)
    rules = {class_id: each.to_json() for class_id, each in found.items()}
    write_json(folder / "rules.json", classes_to_json(rules))
    # Dice, Jaccard and cosine of the same predictions, beside the metric in force.
    write_json(folder / "scores.json", scores | {"coefficients": score_pixels(matches)})
    write_instances(folder / "oof_instances.csv", instances)
    confidence = {class_id: each.confidence.to_json() for class_id, each in found.items()}
    write_json(folder / "confidence.json", confidence)
    return scores


def _tell(found: "Calibration", where: str, *, image_head: bool) -> None:
    """Log which rules of a class were tried and kept, and of several classes its score."""
    from pipeline.metrics import summaries
    from pipeline.metrics.reliability import in_words
    from pipeline.selection.thresholds import Rules

    metric = found.matches.metric
    for trial in found.trials:
        LOG.info(
            "%s: %s: %s %.4f, %+.4f (standard error %s): %s",
            *(where, trial.rule, metric.label, trial.score, trial.gain),
            "unknown" if trial.standard_error is None else f"{trial.standard_error:.4f}",
            "kept" if trial.kept else "not kept",
        )
    LOG.info("%s: confidence: %s", where, in_words(found.confidence.to_json()))
    if image_head and isinstance(found.rules, Rules):
        LOG.warning(
            "%s: the image head is not used: only candidate selection would, not kept", where
        )
    if where != "calibrate":
        figures = (found.scores[name] for name in summaries.headline(metric))
        LOG.info("%s: %s", where, summaries.in_words(metric, *figures))


def candidates(settings: Calibrate, *, contact: bool) -> "RuleGrid":
    """Return the sets of rules to choose from, probabilities in the 256 steps of the maps."""
    from pipeline.calibration.search import RuleGrid
    from pipeline.separation.separate import Separation

    plain = [
        Separation("components", as_level(threshold), connectivity)
        for connectivity, threshold in product(settings.connectivities, settings.thresholds)
    ]
    separations = plain.copy()
    if settings.watershed is not None:
        ways = settings.watershed
        seeds = [as_level(seed) for seed in ways.contact_seeds]
        separations += [
            Separation("contact" if contact else "distance", as_level(threshold), 8, seed, merge)
            for seed in (seeds if contact else ways.distance_seeds_percent)
            for merge, threshold in product(ways.merge_below_px, ways.thresholds)
        ]
    return RuleGrid(
        separations=tuple(separations),
        min_areas_px=tuple(settings.min_areas_px),
        filter_levels=tuple(map(as_level, settings.image_filter_probabilities)),
        filter_areas_px=tuple(settings.image_filter_areas_px),
        empty_answer=settings.empty_answer,
    )


if __name__ == "__main__":
    run_stages("s5_calibrate")
