"""Maps of the test images -> the table to upload, and the check it must pass first."""

from collections.abc import Collection, Iterable

import pandas as pd

from pipeline.errors import DataError
from pipeline.ships.instances import COLUMNS, check_instances
from pipeline.ships.rle import Labels, encode_labels
from pipeline.ships.rules import Rules, find_ships
from pipeline.ships.separate import ImageMaps

__all__ = ["build_submission", "check_submission", "submit_maps"]

NAMED = 5  # offenders that a message names


def submit_maps(
    maps: Iterable[tuple[str, ImageMaps | None]],
    rules: Rules,
    sample_ids: Collection[str],
    height: int,
    width: int,
) -> pd.DataFrame:
    """Cut every map into ships, and check the table of them all.

    Args:
        maps: `(ImageId, maps)`; None for an image without maps, which gets no ship.
        rules: The calibrated rules.
        sample_ids: The images of the sample submission.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.

    Returns:
        Instances in the order given.

    Raises:
        DataError: The table breaks a rule of the competition.
    """
    submission = build_submission((name, find_ships(of_image, rules)) for name, of_image in maps)
    check_submission(submission, sample_ids, height, width)
    return submission


def build_submission(ships: Iterable[tuple[str, Labels | None]]) -> pd.DataFrame:
    """Write the ships of each image as instances.

    Args:
        ships: `(ImageId, labels_hw)`, int32 (h, w), 0 for sea and 1..n for ships; None, like a map
            of sea alone, is an image without ships.

    Returns:
        Instances in the order given.
    """
    rows = []
    for image_id, labels_hw in ships:
        texts = [] if labels_hw is None else encode_labels(labels_hw)
        rows += [(image_id, text) for text in texts or [""]]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def check_submission(
    frame: pd.DataFrame, sample_ids: Collection[str], height: int, width: int
) -> None:
    """Check what the competition would refuse, and what it would silently score as wrong.

    Args:
        frame: Instances to submit.
        sample_ids: The images of the sample submission.
        height: Image height in px, the same for all.
        width: Image width in px, the same for all.

    Raises:
        DataError: An image is missing, one is not in the sample, a row is there twice, a blank row
            stands beside ships, an RLE is illegal, or masks of one image share pixels. The first
            few offenders are named.
    """
    submitted, expected = set(frame["ImageId"]), set(sample_ids)
    defects = check_instances(frame, height, width, "submission")
    problems = {
        "images of the sample are missing": sorted(expected - submitted),
        "images are not in the sample": sorted(submitted - expected),
        "rows are wrong": [f"row {one.row} ({one.image_id}): {one.reason}" for one in defects],
    }
    found = [
        f"{len(offenders)} {problem}: {'; '.join(map(str, offenders[:NAMED]))}"
        for problem, offenders in problems.items()
        if offenders
    ]
    if found:
        raise DataError(
            f"the submission of {len(submitted)} images breaks the competition's rules. "
            f"{'. '.join(found)}. Expected each of the sample's {len(expected)} images, with a row "
            "per ship or one blank row. Nothing was written."
        )
