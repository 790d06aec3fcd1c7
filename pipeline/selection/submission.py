"""Maps of the test images -> the table to upload, and the check it must pass first."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.config.competitions import Competition
from pipeline.errors import DataError, about
from pipeline.maps import ImageMaps
from pipeline.masks.instances import CLASS_COLUMNS, COLUMNS, check_instances, columns_of, write_rows
from pipeline.masks.rle import encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.masks.table_writing import to_rows
from pipeline.masks.tables import read_sample
from pipeline.selection.candidates import Chosen
from pipeline.selection.confidence import Floats, object_levels
from pipeline.selection.rules import AnyRules
from pipeline.selection.workers import Workers, workers
from pipeline.separation.foreground import Packed, pack, unpack

NAMED = 5  # offenders that a message names


Key = tuple[str, ...]
"""Of a layer: ImageId, and ClassId where there are several classes."""


class Drawn(NamedTuple):
    """What rules find.

    Attributes:
        instances: In the order of the layers.
        levels: `object_levels` of the objects among them, float64 (n, 2).
    """

    instances: pd.DataFrame
    levels: Floats


def submit_maps(
    maps: Iterable[tuple[str, Sequence[ImageMaps] | None]],
    rules: Mapping[str, AnyRules],
    sample_ids: Collection[str],
    competition: Competition,
    sizes: Sizes,
    *,
    jobs: int = 1,
) -> pd.DataFrame:
    """Cut every map into objects, and check the table of them all.

    Args:
        maps: `(ImageId, maps of its classes)`; None for an image without maps, which gets no
            object.
        rules: The calibrated rules of each class, in the maps' order.
        sample_ids: The images of the sample submission.
        competition: Whose they are.
        sizes: Of the maps.
        jobs: Processes to cut with.

    Returns:
        Instances in the order given.

    Raises:
        DataError: The table breaks a rule of the competition.
    """

    def layers() -> Iterator[tuple[Key, AnyRules, Packed | None]]:
        for image_id, of_image in maps:
            for number, (class_id, own) in enumerate(rules.items()):
                packed = None if of_image is None else pack(of_image[number], own.lowest)
                yield (image_id, class_id)[: min(len(rules), 2)], own, packed

    objects, classes = competition.objects, competition.classes
    with workers(jobs) as those:
        submission = draw_instances(layers(), those, objects=objects).instances
    check_submission(submission, sample_ids, sizes, classes=classes, objects=objects)
    return submission


def draw_instances(
    layers: Iterable[tuple[Key, AnyRules | Chosen, Packed | None]],
    those: Workers,
    *,
    objects: bool = True,
) -> Drawn:
    """Return the instances that rules find, and the levels of their pixels.

    Args:
        layers: Key of each layer, what finds its objects, and the foreground of all that may be
            kept.
        those: Processes to cut with.
        objects: Whether each object has a row; else a layer has one mask, the union of all.
    """
    find = partial(_find_chunk, objects=objects)
    chunks = list(those.in_order(find, layers))
    rows = [row for rows, _ in chunks for row in rows]
    columns = COLUMNS if not rows or len(rows[0]) == len(COLUMNS) else CLASS_COLUMNS
    levels = np.concatenate([np.zeros((0, 2)), *(each for _, each in chunks)])
    return Drawn(pd.DataFrame(rows, columns=columns, dtype=str), levels)


def _find_chunk(
    layers: list[tuple[Key, AnyRules | Chosen, Packed | None]], *, objects: bool
) -> tuple[list[Key], Floats]:
    rows: list[Key] = []
    levels = [np.zeros((0, 2))]
    for key, rules, packed in layers:
        texts: list[str] = []
        if packed is not None:
            foreground = unpack(packed)
            with about(", class ".join(key)):
                labels_hw = rules.find(foreground)
            if labels_hw is not None:
                labels_hw = labels_hw if objects else np.minimum(labels_hw, 1)
                texts = encode_labels(labels_hw, foreground.within)
                levels.append(object_levels(labels_hw, foreground.maps.prob_hw))
        rows += [(*key, text) for text in texts or [""]]
    return rows, np.concatenate(levels)


def check_submission(
    frame: pd.DataFrame,
    sample_ids: Collection[str],
    sizes: Sizes,
    *,
    classes: Sequence[str] = ("object",),
    objects: bool = True,
) -> None:
    """Check what the competition would refuse, and what it would silently score as wrong.

    Args:
        frame: Instances to submit.
        sample_ids: The images of the sample submission.
        sizes: Of the masks.
        classes: Of the competition; each image has rows of each.
        objects: Whether a row is one of several objects, none of which may share a pixel; else each
            image has exactly one row of each class.

    Raises:
        DataError: An image is missing, one is not in the sample, a row is there twice, a blank row
            stands beside objects, an RLE is illegal, or masks of one image share pixels. The first
            few offenders are named.
    """
    images = set(sample_ids)
    defects = check_instances(frame, sizes, "submission", objects=objects)
    named = [frame[name] for name in columns_of(classes)[:-1]]
    rows = Counter(map(" of class ".join, zip(*named, strict=True)))
    several = len(classes) > 1
    expected = {f"{image} of class {c}" if several else image for image in images for c in classes}
    problems = {
        "images of the sample are missing": sorted(expected - rows.keys()),
        "images are not in the sample": sorted(rows.keys() - expected),
        "images have several masks of a class": sorted(n for n in rows if rows[n] > 1 > objects),
        "rows are wrong": [f"row {one.row} ({one.image_id}): {one.reason}" for one in defects],
    }
    found = [
        f"{len(offenders)} {problem}: {'; '.join(map(str, offenders[:NAMED]))}"
        for problem, offenders in problems.items()
        if offenders
    ]
    if found:
        raise DataError(
            f"the submission of {frame.ImageId.nunique()} images breaks the competition's rules. "
            f"{'. '.join(found)}. Expected each of the sample's {len(images)} images, with "
            "a row per object or one blank row. Nothing was written."
        )


def write_submission(
    path: Path,
    instances: pd.DataFrame,
    sample: Path,
    competition: Competition,
    sizes: Sizes,
) -> None:
    """Write instances in the competition's form, in the order of its sample.

    Args:
        path: The file to write.
        instances: Those of exactly the sample's images, which `check_submission` has passed.
        sample: The sample submission.
        competition: Whose it is.
        sizes: Of the masks.

    Raises:
        DataError: The sample cannot be read.
        ArtifactError: The disk is full.
    """
    form = read_sample(sample, competition)
    write_rows(path, to_rows(instances, form, competition, sizes))
