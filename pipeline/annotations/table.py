"""Images as annotations describe them -> the table of masks that the pipeline trains on.

What that table forbids is settled here: objects that share pixels, classes whose names it cannot
hold, two descriptions of an image, two images of one name, and images that cannot be decoded.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.annotations.annotation import Annotated, RefusalError, Rejected, listed
from pipeline.config.competitions import Rle
from pipeline.config.reading import Reading
from pipeline.data.images import name_defect, shown
from pipeline.data.signature_store import keys_of, look_at
from pipeline.masks.instances import CLASS_COLUMNS, columns_of
from pipeline.masks.rle import find_overlaps, parse_rows
from pipeline.masks.rle_forms import part, to_texts, unite

LOG = logging.getLogger(__name__)
CLASS_NAME = re.compile(r'[^\s,"][^,"]{0,59}')
"""What `own_data.classes` takes."""


@dataclass(frozen=True)
class Rules:
    """What is taken, and how.

    Attributes:
        classes: Of these alone; () for all.
        objects: Whether objects stay apart; else those of a class are one mask.
        parts: Whether a pixel that objects share is given to the smallest of them; else the image
            is rejected.
    """

    classes: Sequence[str] = ()
    objects: bool = True
    parts: bool = True


@dataclass
class Counts:
    """What became of the objects, by class.

    Attributes:
        read: As the annotations have them.
        left_out: Of classes that were not asked for, or whose names no table holds.
        hidden: Objects that had no pixel left when shared ones had gone to smaller objects.
        taken: What the table has. The rest was of images that were rejected.
        shared_px: Pixels that went from one object to a smaller one.
        sharing: Images in which objects share pixels.
    """

    read: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    shared_px: int = 0
    sharing: int = 0

    def summary(self, taken: Mapping[str, Annotated]) -> dict[str, Any]:
        """Return the numbers of images and objects, which add up."""
        objects = {}
        for name, read in sorted(self.read.items()):
            lost = {"left_out": self.left_out[name], "hidden_by_smaller": self.hidden[name]}
            of_rejected = read - self.taken[name] - sum(lost.values())
            objects[name] = {
                "read": read,
                **lost,
                "in_rejected_images": of_rejected,
                "taken": self.taken[name],
            }
        return {
            "images": len(taken),
            "without_objects": sum(not image.objects for image in taken.values()),
            "objects": objects,
            "images_with_shared_pixels": self.sharing,
            "shared_px": self.shared_px,
        }


def settle(
    images: Mapping[str, Annotated], rules: Rules, counts: Counts, rejected: list[Rejected]
) -> dict[str, Annotated]:
    """Return the images with the objects that the table gets.

    Args:
        images: As they are annotated, by their ids.
        rules: What is taken.
        counts: Gets all but `read`.
        rejected: Gets what the table cannot hold.
    """
    settled: dict[str, Annotated] = {}
    nameless: dict[str, str] = {}
    for image_id, image in images.items():
        objects = []
        for name, text in image.objects:
            if not rules.classes or name in rules.classes:
                if CLASS_NAME.fullmatch(name) and name.isprintable():
                    objects.append((name, text))
                    continue
                nameless.setdefault(name, image.where)
            counts.left_out[name] += 1
        with listed(rejected, image.where, shown(image_id)):
            if rules.objects:
                objects = _apart(image, objects, rules, counts)
            counts.taken.update(name for name, _ in objects)
            if not rules.objects:
                objects = _united(image, objects)
            settled[image_id] = replace(image, objects=objects)
    for name, where in nameless.items():
        reason = f"{counts.left_out[name]} objects of class {name!r}, a name that no table holds"
        advice = "Rename it: up to 60 characters, without commas, quotes and a blank before it."
        rejected.append(Rejected(where, f"class {name!r}", reason, advice))
    return settled


def _united(image: Annotated, objects: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return one mask for each class."""
    names = [*dict.fromkeys(name for name, _ in objects)]
    runs, owners = parse_rows([text for _, text in objects], image.height, image.width)
    of_object = np.array([names.index(name) for name, _ in objects], np.int64)
    mask = unite(runs, of_object[owners], image.height * image.width)
    return [*zip(names, to_texts(*mask, len(names), Rle()), strict=True)]


def _apart(
    image: Annotated, objects: list[tuple[str, str]], rules: Rules, counts: Counts
) -> list[tuple[str, str]]:
    """Return objects that share no pixel.

    Raises:
        RefusalError: Some do, and are not to be parted.
    """
    runs, owners = parse_rows([text for _, text in objects], image.height, image.width)
    pairs = find_overlaps(runs[:, 0], runs[:, 1], owners)
    if not len(pairs):
        return objects
    if not rules.parts:
        named = ", ".join(f"{a + 1} and {b + 1}" for a, b in np.sort(pairs).tolist())
        raise RefusalError(
            f"objects that share pixels, though each has its own in the table: {named}",
            "Redraw them, or let the smaller one have the pixels: --overlaps part.",
        )
    parted, of = part(runs, owners, image.height * image.width)
    counts.sharing += 1
    counts.shared_px += int(runs[:, 1].sum() - parted[:, 1].sum())
    texts = to_texts(parted, of, len(objects), Rle())
    counts.hidden.update(name for (name, _), text in zip(objects, texts, strict=True) if not text)
    return [(name, text) for (name, _), text in zip(objects, texts, strict=True) if text]


def by_id(
    images: Iterable[Annotated], reading: Reading, counts: Counts, rejected: list[Rejected]
) -> dict[str, Annotated]:
    """Give each image its ImageId: its file's name, or where two have one name, all their paths.

    Args:
        images: As they are annotated.
        reading: How their files are read.
        counts: Gets what is `read`.
        rejected: Gets the images that are described twice, since nothing says which is right, and
            those that cannot be decoded.

    Returns:
        The others, sorted by their ids.
    """
    described: dict[Path, list[Annotated]] = {}
    for image in images:
        counts.read.update(name for name, _ in image.objects)
        described.setdefault(Path(os.path.abspath(image.path)), []).append(image)  # noqa: PTH100
    for path, several in described.items():
        if len(several) > 1:
            reason = f"described {len(several)} times: {', '.join(each.where for each in several)}"
            rejected.append(Rejected(shown(path), "", reason, "Leave the one that is right."))
    once = {path: several[0] for path, several in described.items() if len(several) == 1}
    folder = None
    if len({path.name for path in once}) < len(once):
        folder = Path(os.path.commonpath([path.parent for path in once]))
        LOG.info("images of one name: all are called by their path in %s", shown(folder))
    found = {}
    for path, defect in zip(once, _defects(once, reading), strict=True):
        name = path.name if folder is None else path.relative_to(folder).as_posix()
        if wrong := defect or name_defect(name):
            advice = "Mend or rename the file, or leave it out."
            if "data.reading" in wrong:
                advice = "Give a configuration that has it: --base FILE."
            rejected.append(Rejected(shown(path), "", wrong, advice))
        else:
            found[name] = once[path]
    return dict(sorted(found.items()))


def _defects(images: Mapping[Path, Annotated], reading: Reading) -> Iterator[str]:
    """Decode the images, completely; yield what is wrong with each, "" for nothing."""
    if not images:
        return
    files, folder = keys_of([*images])
    jobs = os.cpu_count() or 1
    looks = look_at(files, folder, None, jobs=jobs, store=None, task="images", reading=reading)
    for image, seen in zip(images.values(), chain.from_iterable(looks), strict=True):
        yield seen.defect or (
            f"expected {image.width}x{image.height} px as {image.where} has it, got "
            f"{seen.width}x{seen.height}"
            if (seen.height, seen.width) != (image.height, image.width)
            else ""
        )


def as_table(images: Mapping[str, Annotated], classes: Sequence[str]) -> pd.DataFrame:
    """Return the table of objects: each image's by class, in their order; a blank row for none."""
    rows = [
        (image_id, name, text)
        for image_id, image in images.items()
        for name in classes
        for text in [text for own, text in image.objects if own == name] or [""]
    ]
    return pd.DataFrame(rows, columns=CLASS_COLUMNS, dtype=str)[columns_of(classes)]
