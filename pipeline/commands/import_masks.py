"""Images labelled in other tools, as data to train on: `./run.sh import_masks SOURCE --out FOLDER`.

Reads COCO's JSON, YOLO's labels, LabelMe's files, CVAT's XML, or masks as pictures beside the
images. Writes a folder, which appears when it is whole: `images/` and `masks.csv`; what is held out
for a test; `config.yaml`, which trains on it; `rejected.csv` with what could not be taken, why, and
what to do; `import.json` with the numbers of all that was read and taken; and `contact_sheet.png`,
to be looked at before anything is trained.
"""

import argparse
import errno
import logging
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import __version__
from pipeline.annotations import png_reading
from pipeline.annotations.annotation import Annotated, Rejected, Source
from pipeline.annotations.forms import READERS, TRAITS, Reader, recognise
from pipeline.annotations.png_reading import Meaning
from pipeline.annotations.table import Counts, Rules, as_table, by_id, settle
from pipeline.config.competitions import competitions
from pipeline.config.data import name_of
from pipeline.config.load import as_yaml, load_config
from pipeline.config.paths import of_caller
from pipeline.config.reading import Reading
from pipeline.data.held_out import hold_out, read_groups
from pipeline.data.images import shown
from pipeline.data.rendered import appearing
from pipeline.data.scenes import find_groups_by_size
from pipeline.errors import ConfigError, DataError
from pipeline.jobs.artifacts import write_atomic, write_json
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.masks.instances import write_instances, write_rows
from pipeline.masks.sizes import Sizes
from pipeline.report.contact_sheet import choose, contact_sheet

LOG = logging.getLogger("pipeline.commands.import_masks")
TASK = competitions()["masks"]
REJECTED, SHEET, CONFIG = "rejected.csv", "contact_sheet.png", "config.yaml"
RECORDED = (
    "labels",
    "classes",
    "crowds",
    "whole_masks",
    "overlaps",
    "test_share",
    "group_by_folder",
    "seed",
)


def main() -> None:
    """Read the command line and import."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    with exit_codes(resumes=False):
        import_masks(arguments)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("source", type=Path, help="the file or folder of annotations")
    add("--out", type=Path, required=True, help="the folder to make")
    add("--as", dest="form", choices=TRAITS, help="the form; default: as recognised")
    add("--images", type=Path, help="the folder of images, where it is not where the form has it")
    add("--labels", choices=("binary", "instances", "classes"), help="what values of masks mean")
    add("--classes", help="names: these alone; with --labels classes 1=roof,2=road,255=")
    add("--crowds", action="store_true", help="coco: what is marked iscrowd is an object, too")
    add("--whole-masks", action="store_true", help="one mask a class; objects are not kept apart")
    add(
        "--overlaps",
        choices=("part", "reject"),
        default="part",
        help="pixels that objects share: the smallest one's (default), or leave out the image",
    )
    add("--link", action="store_true", help="hard links to the images instead of copies")
    add("--test-share", type=float, default=0.0, help="of the images, to hold out for a test")
    held_by = parser.add_mutually_exclusive_group()
    held_by.add_argument("--groups", type=Path, help="held out whole: a table ImageId,group")
    held_by.add_argument("--group-by-folder", action="store_true", help="held out whole: folders")
    add("--seed", type=int, default=0, help="decides what is held out; default: 0")
    add("--base", type=Path, help="what config.yaml builds on; default: masks or whole_masks.yaml")
    return parser


def import_masks(given: argparse.Namespace) -> None:
    """Make the folder that the command line asks for.

    Raises:
        ConfigError: Options do not fit each other, or what was found.
        DataError: Nothing can be taken; or see `recognise`, `hold_out` and `read_groups`.
    """
    out, source = of_caller(given.out).absolute(), of_caller(given.source)
    base, reading = _base(given)
    form, place = recognise(source, given.form)
    reader, names = _reader(form, given)
    rules = Rules(names, not given.whole_masks, given.overlaps == "part")
    counts, rejected = Counts(), list[Rejected]()
    images = given.images and of_caller(given.images)
    if images and not images.is_dir():
        raise ConfigError(f"--images: {shown(images)}: expected a folder. Correct the path.")
    with appearing(out) as folder:
        LOG.info("%s: reading %s", shown(place), form)
        crowds = given.crowds or given.whole_masks
        annotated = reader(Source(place, images, crowds=crowds), rejected)
        found = by_id(annotated, reading, counts, rejected)
        taken = settle(found, rules, counts, rejected)
        classes = _classes(names, counts, rejected, source)
        table = as_table(taken, classes)
        test = _held_out(given, table, taken, reading)
        for image_id, image in taken.items():
            part = TASK.test_images if image_id in test else TASK.train_images
            _put(image.path, folder / part / image_id, link=given.link)
        _write_tables(folder, table, test)
        rows = [(each.where, each.item, each.reason, each.advice) for each in rejected]
        columns = ["file", "item", "reason", "advice"]
        write_rows(folder / REJECTED, pd.DataFrame(rows, columns=columns, dtype=str))
        sheet = contact_sheet(choose(taken), classes, reading)
        write_atomic(folder / SHEET, partial(sheet.save, format="PNG", compress_level=1))
        test_truth = TASK.hidden_truth if test else None
        _write_config(folder, out, base, classes, objects=rules.objects, test_truth=test_truth)
        record = {"version": __version__, "source": str(source.absolute()), "form": form}
        record |= {name: getattr(given, name) for name in RECORDED}
        record |= counts.summary(taken) | {"held_out": len(test), "rejected": len(rejected)}
        write_json(folder / "import.json", record)
    _tell(given.out, record)


def _base(given: argparse.Namespace) -> tuple[Path, Reading]:
    """Return the configuration that the folder's own builds on, and how it reads images."""
    usual = Path("configs", "whole_masks.yaml" if given.whole_masks else "masks.yaml")
    base = (of_caller(given.base) if given.base else usual).absolute()
    config = load_config(base, [])
    if config.competition != TASK.name:
        raise ConfigError(
            f"--base: {base}: expected competition: {TASK.name}, got {config.competition}."
        )
    return base, config.data.reading


def _reader(form: str, given: argparse.Namespace) -> tuple[Reader, list[str]]:
    """Return what reads a form, and the classes that are asked for, [] for all."""
    listed = [name.strip() for name in (given.classes or "").split(",")]
    asked = [*dict.fromkeys(filter(None, listed))]
    if form != "png":
        if given.labels:
            raise ConfigError(f"--labels: expected masks as pictures, got {form}. Leave it out.")
        if given.images and form == "yolo":
            raise ConfigError("--images: YOLO's own file names its images. Leave it out.")
        return READERS[form], asked
    if given.labels is None:
        raise ConfigError(
            "--labels: expected one of binary, instances and classes, got none: what the values of "
            "masks mean cannot be seen in them. binary: 0 and one other value; instances: a value "
            "for each object; classes: a value for each class, named by --classes 1=roof,2=road."
        )
    if given.labels != "classes":
        return partial(png_reading.read, meaning=Meaning(given.labels)), asked
    pairs = [each.partition("=")[::2] for each in asked]
    values = [int(value) if value.strip().isdecimal() else -1 for value, _ in pairs]
    names = [name.strip() for _, name in pairs]
    named = {*zip(values, names, strict=True)} & {(0, name) for name in filter(None, names)}
    if not values or -1 in values or len({*values}) < len(values) or named:
        raise ConfigError(
            f"--classes: expected one name for each value from 1 on, such as 1=roof,2=road,255= "
            f"(without a name it is left out; 0 is the background), got {given.classes or 'none'}."
        )
    meaning = Meaning("classes", dict(zip(values, names, strict=True)))
    return partial(png_reading.read, meaning=meaning), [*dict.fromkeys(filter(None, names))]


def _classes(
    asked: Sequence[str], counts: Counts, rejected: Sequence[Rejected], source: Path
) -> list[str]:
    """Return the classes of the table.

    Raises:
        DataError: No object can be taken, or none of a class that is asked for.
    """
    missing = [name for name in asked if not counts.taken[name]]
    if counts.taken and not missing:
        return [*asked] or sorted(counts.taken)
    wanted = f"objects of {', '.join(missing)}" if missing else "objects"
    read = ", ".join(f"{name} ({count})" for name, count in counts.read.items())
    first = " Correct the path or --classes."
    if rejected:
        one = rejected[0]
        place = f"{one.where}{one.item and f', {one.item}'}"
        first = f" {len(rejected)} entries cannot be taken: {place}: {one.reason}. {one.advice}"
    raise DataError(f"{shown(source)}: expected images with {wanted}, got {read or 'none'}.{first}")


def _held_out(
    given: argparse.Namespace,
    table: pd.DataFrame,
    taken: Mapping[str, Annotated],
    reading: Reading,
) -> set[str]:
    """Return the images that are held out for a test."""
    share = given.test_share
    if not 0 <= share < 1:
        raise ConfigError(f"--test-share {share}: expected a share from 0 up to, not with, 1.")
    if share == 0:
        if given.groups or given.group_by_folder:
            raise ConfigError("--groups: expected --test-share with it, such as 0.2, got none.")
        return set()
    if given.groups is not None:
        groups = read_groups(of_caller(given.groups), [*taken])
    elif given.group_by_folder:
        groups = [str(image.path.parent) for image in taken.values()]
    else:
        sizes = {name: (image.height, image.width) for name, image in taken.items()}
        scenes = find_groups_by_size(
            [image.path for image in taken.values()],
            [*taken],
            Sizes(None, sizes),  # those too small to tell are alone, also if all are
            jobs=os.cpu_count() or 1,
            signatures_path=None,
            reading=reading,
        )
        groups = [str(scene) for scene in scenes.tolist()]
    return hold_out(table, groups, share, given.seed)


def _put(source: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not link:
        shutil.copyfile(source, target)
        return
    try:
        target.hardlink_to(source.resolve())
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise ConfigError(
            f"--link: {shown(source)} is on another disk than --out. Leave --link out, or choose "
            "a folder on that disk."
        ) from None


def _write_tables(folder: Path, table: pd.DataFrame, test: Collection[str]) -> None:
    held = table.ImageId.isin(test)
    write_instances(folder / TASK.truth, table[~held])
    if test:
        write_instances(folder / TASK.hidden_truth, table[held])
        blank = table[held].assign(EncodedPixels="").drop_duplicates()
        write_instances(folder / TASK.sample, blank)


def _write_config(
    folder: Path,
    out: Path,
    base: Path,
    classes: Sequence[str],
    *,
    objects: bool,
    test_truth: str | None,
) -> None:
    """Write the configuration that trains on the folder, which will be `out`."""
    truth = {} if test_truth is None else {"test_truth": str(out / test_truth)}
    values: dict[str, Any] = {
        "base": str(base),
        "name": name_of(out).lstrip("_"),
        "own_data": {"classes": [*classes], "objects": objects},
        "data": {"root": str(out), **truth},
    }
    if len(classes) > 1:
        values["predict"] = {"look_again": False}
    write_atomic(folder / CONFIG, as_yaml(values).encode())
    load_config(folder / CONFIG, [])  # what is wrong with it is told now


def _tell(out: Path, record: Mapping[str, Any]) -> None:
    """Say what was taken, where it is, and what to do next."""
    LOG.info(
        "%s: %d images, %d of them without objects, %d held out; %d entries not taken (%s)",
        *(out, record["images"], record["without_objects"], record["held_out"]),
        *(record["rejected"], out / REJECTED),
    )
    for name, of in record["objects"].items():
        rest = ", ".join(f"{v} {k.replace('_', ' ')}" for k, v in of.items() if v and k != "taken")
        LOG.info("  %s: %d objects taken (%s)", name, of["taken"], rest)
    if record["shared_px"]:
        LOG.info(
            "  in %d images objects shared %d px, which were given to the smaller",
            *(record["images_with_shared_pixels"], record["shared_px"]),
        )
    LOG.info("Look at %s, then train: ./run.sh %s", out / SHEET, out / CONFIG)


if __name__ == "__main__":
    main()
