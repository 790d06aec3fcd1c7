"""Maps of the test images -> the table to upload, and the check it must pass first."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config.competitions import Competition
from pipeline.errors import DataError, about
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS, check_instances, columns_of, write_rows
from pipeline.masks.rle import encode_labels
from pipeline.masks.table_writing import to_rows
from pipeline.masks.tables import read_sample
from pipeline.selection.candidates import Chosen
from pipeline.selection.rules import AnyRules
from pipeline.selection.thresholds import Rules
from pipeline.selection.workers import Workers, workers
from pipeline.separation.foreground import Packed, pack, unpack

NAMED = 5  # offenders that a message names


def submit_maps(
    maps: Iterable[tuple[str, ImageMaps | None]],
    rules: AnyRules,
    sample_ids: Collection[str],
    height: int,
    width: int,
    *,
    jobs: int = 1,
) -> pd.DataFrame:
    """Cut every map into objects, and check the table of them all.

    Args:
        maps: `(ImageId, maps)`; None for an image without maps, which gets no object.
        rules: The calibrated rules.
        sample_ids: The images of the sample submission.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.
        jobs: Processes to cut with.

    Returns:
        Instances in the order given.

    Raises:
        DataError: The table breaks a rule of the competition.
    """
    packed = ((image_id, 0, pack(of_image, rules.lowest)) for image_id, of_image in maps)
    submission = find_instances(packed, {0: rules}, jobs=jobs)
    check_submission(submission, sample_ids, height, width)
    return submission


def find_instances(
    foregrounds: Iterable[tuple[str, int, Packed | None]],
    rules: Mapping[int, Rules] | Mapping[int, AnyRules],
    *,
    jobs: int = 1,
) -> pd.DataFrame:
    """Return the instances that rules find.

    Args:
        foregrounds: `(ImageId, fold, foreground)` of each image, of all that its rules may keep.
        rules: Of each fold.
        jobs: Processes to cut with.

    Returns:
        Instances in the order given.
    """
    images = ((image_id, rules[fold], packed) for image_id, fold, packed in foregrounds)
    with workers(jobs) as those:
        return draw_instances(images, those)


def draw_instances(
    images: Iterable[tuple[str, AnyRules | Chosen, Packed | None]], those: Workers
) -> pd.DataFrame:
    """Do as `find_instances`; each image comes with what finds its objects."""
    rows_of_chunks = those.in_order(_find_chunk, images)
    rows = [row for rows in rows_of_chunks for row in rows]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def _find_chunk(
    images: list[tuple[str, AnyRules | Chosen, Packed | None]],
) -> list[tuple[str, str]]:
    rows = []
    for image_id, rules, packed in images:
        texts: list[str] = []
        if packed is not None:
            foreground = unpack(packed)
            with about(image_id):
                labels_hw = rules.find(foreground)
            if labels_hw is not None:
                texts = encode_labels(labels_hw, foreground.within)
        rows += [(image_id, text) for text in texts or [""]]
    return rows


def check_submission(
    frame: pd.DataFrame,
    sample_ids: Collection[str],
    height: int,
    width: int,
    *,
    classes: Sequence[str] = ("object",),
    objects: bool = True,
) -> None:
    """Check what the competition would refuse, and what it would silently score as wrong.

    Args:
        frame: Instances to submit.
        sample_ids: The images of the sample submission.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.
        classes: Of the competition; each image has rows of each.
        objects: Whether a row is one of several objects, none of which may share a pixel; else each
            image has exactly one row of each class.

    Raises:
        DataError: An image is missing, one is not in the sample, a row is there twice, a blank row
            stands beside objects, an RLE is illegal, or masks of one image share pixels. The first
            few offenders are named.
    """
    images = set(sample_ids)
    defects = check_instances(frame, height, width, "submission", objects=objects)
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
    mask_shape: tuple[int, int],
) -> None:
    """Write instances in the competition's form, in the order of its sample.

    Args:
        path: The file to write.
        instances: Those of exactly the sample's images, which `check_submission` has passed.
        sample: The sample submission.
        competition: Whose it is.
        mask_shape: Height and width of a mask, px.

    Raises:
        DataError: The sample cannot be read.
        ArtifactError: The disk is full.
    """
    form = read_sample(sample, competition)
    write_rows(path, to_rows(instances, form, competition, mask_shape))
