"""The maps of several runs -> their mean, as if one model had predicted them.

The runs may differ in everything but the images and their folds: networks, losses, crop sizes,
seeds. Calibration and submission take the mean like the maps of any run. A map that a run did not
store, since it stayed below its floor, counts as 0; its image head's answer counts as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_stored_config
from pipeline.config.schema import Ensemble
from pipeline.data.catalog import Catalog
from pipeline.errors import ConfigError
from pipeline.inference.probmaps import MapReader, MapWriter
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.maps import ImageMaps, ProbabilityMap, exclusive

Mean = Literal["probability", "logit"]

HOLDS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "contact": ("targets", "kind", lambda kind: CHANNELS[kind] > 1),
    "an image head's answer": ("image_head", "weight", lambda weight: weight > 0),
}
"""What maps may hold beside objects: section and name of the setting that says whether they do."""

# A map's value v stands for the probabilities around v / 255, so 0 and 255 have finite logits.
LOGITS = np.log((np.arange(256) + 0.5) / (255.5 - np.arange(256)))


def members(run: Run, ensemble: Ensemble) -> list[Run]:
    """Return the runs of an ensemble, after checking that their maps can be averaged.

    Raises:
        ConfigError: One does not exist, or its maps hold something that this run's settings say
            they do not, or the other way round.
        ArtifactError: One has other folds.
    """
    found = []
    for name in ensemble.runs:
        folder = run.folder_of_other(name, key="predict.ensemble.runs")
        member = Run(load_stored_config(folder / "config.yaml"), restart=False)
        for what, (section, field, holds) in HOLDS.items():
            theirs, own = (getattr(getattr(one.config, section), field) for one in (member, run))
            if holds(theirs) != holds(own):
                raise ConfigError(
                    f"predict.ensemble.runs: {name}: expected maps "
                    f"{'with' if holds(own) else 'without'} {what}, as {section}.{field}={own} "
                    f"says, got those of a run with {theirs}. Let all runs and this one have it, "
                    "or none."
                )
        theirs, own = (each.config.task.classes for each in (member, run))
        if theirs != own:
            raise ConfigError(
                f"predict.ensemble.runs: {name}: expected the classes {', '.join(own)} in this "
                f"order, got {', '.join(theirs)}. Average runs of the same classes."
            )
        found.append(member)
    return found


def ensemble_job(run: Run, ensemble: Ensemble, stage: str, fold: int | None) -> Job:
    """Return the job of averaging the runs' maps of a fold's images, or of the test images.

    Raises:
        ConfigError: See `members`.
        ArtifactError: See `members`; or a run's maps are not finished.
    """
    maps = [member.result(stage, fold=fold) for member in members(run, ensemble)]
    return run.job(
        stage,
        fold=fold,
        sections=("targets", "predict"),
        inputs=[run.result("split"), *maps],
    )


def predict_ensemble(
    run: Run, ensemble: Ensemble, job: Job, part: Part, image_ids: Sequence[str]
) -> None:
    """Write the means of the runs' maps of a part's images; if the part is whole, finish the job.

    Args:
        run: For the configuration and the data.
        ensemble: The runs, and what is averaged.
        job: From `ensemble_job`.
        part: A shard of the images, or all of them.
        image_ids: Of the whole part.

    Raises:
        ArtifactError: A run's maps are of other images, of another size, or damaged.
    """
    maps = [each.result(job.stage, fold=job.fold) for each in members(run, ensemble)]
    catalog = Catalog.of(run)
    task, kind = run.config.task, run.config.targets.kind
    sizes = catalog.test_mask_sizes if job.fold is None else catalog.mask_sizes
    contact = CHANNELS[kind] > 1
    readers = [
        MapReader(each, image_ids, sizes, contact=contact, classes=len(task.classes))
        for each in maps
    ]
    writer = MapWriter(job, part, floor=run.config.predict.floor)
    written = writer.written
    for image_id in part.of(image_ids):
        if image_id not in written:
            each = [reader.read_all(image_id) or reader.background(image_id) for reader in readers]
            writer.add(image_id, mean_layers(each, ensemble, objects=task.objects))
    writer.end(image_ids, "cpu")


def mean_layers(
    each: Sequence[Sequence[ImageMaps]], ensemble: Ensemble, *, objects: bool
) -> list[ImageMaps]:
    """Return the mean of several runs' maps of an image, one a class.

    Args:
        each: Of each run, the maps of the classes.
        ensemble: Says what is averaged.
        objects: Whether a pixel is of one class only.
    """
    layers = [_mean_of(of_class, ensemble.mean) for of_class in zip(*each, strict=True)]
    return exclusive(layers) if objects else layers


def _mean_of(each: Sequence[ImageMaps], mean: Mean) -> ImageMaps:
    contacts = [one.contact_hw for one in each if one.contact_hw is not None]
    prob_hw = average_maps([one.prob_hw for one in each], mean)
    contact_hw = average_maps(contacts, mean) if contacts else None
    heads = [one.image_prob for one in each if one.image_prob is not None]
    image_prob = round(float(np.mean(heads)), 6) if heads else None
    return ImageMaps(prob_hw, contact_hw, image_prob)


def average_maps(maps: Sequence[ProbabilityMap], mean: Mean) -> ProbabilityMap:
    """Return the mean of 8-bit maps, uint8 (h, w), of their probabilities or their logits."""
    if mean == "probability":
        mean_hw = np.mean(maps, axis=0)
    else:
        mean_hw = 256 / (1 + np.exp(-np.mean([LOGITS[one] for one in maps], axis=0))) - 0.5
    rounded_hw: ProbabilityMap = np.rint(mean_hw).astype(np.uint8)
    return rounded_hw
