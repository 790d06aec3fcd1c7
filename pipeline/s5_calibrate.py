"""Stage 5: every threshold and rule, and the honest F2.

Reads the out-of-fold maps and the truth. Writes `runs/<name>/calibrate/`: rules.json (for the test
images, and the cross-fitted ones of each fold), oof_instances.csv, scores.json. Rules are fitted on
K-1 folds and scored on the held one, so the F2 printed here is one a leaderboard could give.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import write_json
from pipeline.command import run_stage
from pipeline.config import Calibrate
from pipeline.run import Run

if TYPE_CHECKING:
    from pipeline.ships.calibrate import Candidates
    from pipeline.ships.separate import ImageMaps

LOG = logging.getLogger("pipeline.s5_calibrate")
MAPS_PER_JOB = 2000


class _OutOfFoldMaps:
    """(ImageId, fold, maps) of every training image, as often as somebody goes through them."""

    def __init__(
        self, run: Run, ids_of_fold: dict[int, list[str]], height: int, width: int
    ) -> None:
        from pipeline.data.targets import CHANNELS
        from pipeline.inference.probmaps import MapReader

        contact = CHANNELS[run.config.targets.kind] > 1
        self._readers = {
            fold: MapReader(
                run.result("predict/oof", fold=fold), ids, height, width, contact=contact
            )
            for fold, ids in ids_of_fold.items()
        }

    def __iter__(self) -> Iterator[tuple[str, int, "ImageMaps | None"]]:
        for fold, reader in self._readers.items():
            for image_id in reader.image_ids:
                yield image_id, fold, reader.read(image_id)


def stage(run: Run) -> None:
    """Fit the rules by the competition's metric, cross-fitted over the folds."""
    data, split = run.result("data"), run.result("split")
    folds = range(run.config.folds.count)
    maps = [run.result("predict/oof", fold=fold) for fold in folds]
    job = run.job("calibrate", sections=("calibrate",), inputs=[data, split, *maps])
    if run.begin(job):
        scores = _calibrate(run, job.folder)
        names = ("f2", "f2_ship_images", "f2_empty_images", "f2_all_empty")
        job.finish(
            ["rules.json", "oof_instances.csv", "scores.json"],
            {name: scores[name] for name in names},
        )
    metrics = job.manifest["metrics"]
    LOG.info(
        "out-of-fold F2 %.4f (ship images %.4f, empty images %.4f; the all-empty answer %.4f)",
        *(metrics["f2"], metrics["f2_ship_images"]),
        *(metrics["f2_empty_images"], metrics["f2_all_empty"]),
    )


def _calibrate(run: Run, folder: Path) -> dict[str, Any]:
    from pipeline.data.catalog import Catalog
    from pipeline.data.folds import read_folds
    from pipeline.ships.calibrate import calibrate
    from pipeline.ships.instances import write_instances

    catalog = Catalog.load(run.result("data").folder)
    folds = read_folds(run.result("split").checked("folds.csv"))
    ids_of_fold = {
        fold: folds.ImageId[folds.fold == fold].tolist() for fold in range(run.config.folds.count)
    }
    shape, settings = (catalog.height, catalog.width), run.config.calibrate
    found = calibrate(
        _OutOfFoldMaps(run, ids_of_fold, *shape),
        catalog.instances,
        *shape,
        candidates(settings),
        groups=dict(zip(folds.ImageId, folds.group, strict=True)),
        # A process costs seconds to start: one for every few thousand maps, up to the cores.
        jobs=min(os.cpu_count() or 1, 1 + len(folds) // MAPS_PER_JOB),
    )
    rules = {
        "rules": found.rules.to_json(),
        "cross_fitted": {str(fold): rules.to_json() for fold, rules in found.fold_rules.items()},
    }
    LOG.info("calibrate: %s", found.rules)
    write_json(folder / "rules.json", rules)
    write_json(folder / "scores.json", found.scores)
    write_instances(folder / "oof_instances.csv", found.instances)
    return found.scores


def candidates(settings: Calibrate) -> "Candidates":
    """Return the sets of rules to choose from, probabilities in the 256 steps of the maps."""
    from pipeline.ships.calibrate import Candidates

    return Candidates(
        thresholds=tuple(round(255 * value) for value in settings.thresholds),
        connectivities=tuple(settings.connectivities),
        min_areas_px=tuple(settings.min_areas_px),
        gate_probs=tuple(round(255 * value) for value in settings.gate_probabilities),
        gate_areas_px=tuple(settings.gate_areas_px),
    )


if __name__ == "__main__":
    run_stage(stage, description=__doc__)
