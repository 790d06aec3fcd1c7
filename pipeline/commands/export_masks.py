"""Masks in the forms of other tools: `./run.sh export_masks RUN --as coco --out FOLDER`.

Reads the masks of a finished run: out-of-fold (`--what oof`), of the test images (`test`), or the
truth that it learned from (`truth`); or a table `ImageId[,ClassId],EncodedPixels` and the folder of
its images (`--images`). Writes the folder --out, which must not exist and appears when it is whole.
Every form keeps every pixel. YOLO's labels do if they are read by centres of pixels; what is lost
where a trainer fills their rings is measured and printed.
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands._runs import open_run
from pipeline.config.competitions import ANY_CLASS
from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError, DataError, about
from pipeline.jobs.command import argument_parser, exit_codes

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.annotations.annotation import Annotated
    from pipeline.masks.rle import Labels

LOG = logging.getLogger("pipeline.commands.export_masks")
FORMS = ("coco", "yolo", "png", "labelme", "cvat", "geojson")
WHAT = ("oof", "test", "truth")


@dataclass(frozen=True)
class Masks:
    """What is exported.

    Attributes:
        instances: A table of objects.
        source: Where it is from, for messages.
        root: The folder of the images.
        path_of: Returns the file of an image.
        classes: All names of classes, in their order.
        metric: The key of what they are scored by.
        shape: Height and width of the masks, px, where the images may have another size.
    """

    instances: "pd.DataFrame"
    source: str
    root: Path
    path_of: Callable[[str], Path]
    classes: Sequence[str]
    metric: str
    shape: tuple[int, int] | None = None


def main() -> None:
    """Read the command line and export."""
    parser = argument_parser(__doc__)
    parser.add_argument("source", help="a finished run, by name or folder, or a table of masks")
    parser.add_argument("--as", dest="form", required=True, choices=FORMS)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--what", choices=WHAT, help="of a run; default: oof")
    parser.add_argument("--images", type=Path, help="of a table: the folder of its images")
    parser.add_argument(
        "--polygons", action="store_true", help="coco: polygons where an object has no hole"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_codes(resumes=False):
        if arguments.polygons and arguments.form != "coco":
            raise ConfigError(f"--polygons: expected --as coco, got {arguments.form}.")
        masks, out = find_masks(arguments), of_caller(arguments.out)
        export_masks(masks, arguments.form, out, polygons=arguments.polygons)


def find_masks(arguments: argparse.Namespace) -> Masks:
    """Return the masks that the command line names.

    Raises:
        ConfigError: There are none of that name, or options do not fit.
        DataError: They cannot be read, or have another size than their images.
    """
    table = of_caller(Path(arguments.source))
    if table.suffix == ".csv":
        if arguments.images is None or arguments.what is not None:
            raise ConfigError(
                f"{table}: expected --images with the folder of its images, and no --what, which "
                "is for runs."
            )
        return of_table(table, of_caller(arguments.images))
    if arguments.images is not None:
        raise ConfigError("--images: expected a table *.csv, got a run, which knows its images.")
    return of_run(arguments.source, arguments.what or WHAT[0])


def of_table(path: Path, images: Path) -> Masks:
    """Return the masks of a table in the pipeline's form, of images in a folder."""
    from pipeline.masks.instances import read_instances

    instances = read_instances(path)
    names = instances.get("ClassId", [ANY_CLASS])
    return Masks(instances, str(path), images, images.joinpath, [*dict.fromkeys(names)], "f2")


def of_run(name: str, what: str) -> Masks:
    """Return the masks of a run: out-of-fold, of the test images, or the truth."""
    from pipeline.data.catalog import Catalog
    from pipeline.masks.instances import read_instances
    from pipeline.masks.tables import read_masks

    run = open_run(name)
    task, catalog = run.config.task, Catalog.of(run)
    if what == "truth":
        instances, shape = catalog.instances, None
    elif what == "oof":
        instances = read_instances(run.result("calibrate").checked("oof_instances.csv"))
        shape = task.mask_shape
    else:
        if not catalog.test_ids:
            raise ConfigError(f"--what test: {run.config.name} has no test images.")
        table = run.result("submit").checked("submission.csv")
        instances = read_masks(table, task, catalog.test_mask_sizes, images=catalog.test_ids)
        instances = instances[~instances.ImageId.isin(catalog.unusable_test_ids)]
        shape = task.mask_shape
    folder, path_of = task.train_images, catalog.train_path
    if what == "test":
        folder, path_of = task.test_images, catalog.test_path
    source = f"{run.config.name}, {what}"
    return Masks(
        instances, source, catalog.root / folder, path_of, task.classes, task.metric, shape
    )


def annotated(masks: Masks) -> Iterator["Annotated"]:
    """Go through the images and their objects.

    Raises:
        DataError: An image is missing, or a mask is illegal or of another size.
    """
    from pipeline.annotations.annotation import Annotated
    from pipeline.annotations.images import image_size
    from pipeline.annotations.polygons import united
    from pipeline.data.images import name_defect, shown
    from pipeline.masks.rle import encode_runs, parse_runs

    for image_id, rows in masks.instances.groupby("ImageId", sort=False):
        if defect := name_defect(str(image_id)):
            raise DataError(f"{masks.source}: {shown(image_id)}: {defect}. Correct the table.")
        path = masks.path_of(str(image_id))
        if not path.is_file():
            raise DataError(
                f"{shown(path)}: no such image, of which {masks.source} has masks. Restore it, or "
                "correct the folder."
            )
        with about(shown(path)):
            height, width = image_size(path)
            if masks.shape and masks.shape != (height, width):
                raise DataError(
                    f"the image has {width}x{height} px, its masks have {masks.shape[1]}x"
                    f"{masks.shape[0]}, as {masks.source} is submitted. --what truth has masks of "
                    "the images' size."
                )
        objects = []
        names = rows.get("ClassId", [masks.classes[0]] * len(rows))
        for row, name, text in zip(rows.index, names, rows.EncodedPixels, strict=True):
            with about(f"{masks.source}, row {row + 2} ({image_id})"):
                runs = united([parse_runs(text, height, width)], height * width)
            if text:
                objects.append((name, encode_runs(runs)))
        yield Annotated(path, height, width, objects, masks.source)


def export_masks(masks: Masks, form: str, out: Path, *, polygons: bool = False) -> None:
    """Write masks in a form to the folder `out`.

    Raises:
        DataError: `out` exists, an image is missing, or a mask is illegal or cannot be written.
    """
    from pipeline.annotations import coco, cvat, geojson, labelme, png, yolo
    from pipeline.data.rendered import appearing

    classes = masks.classes
    writers: dict[str, Callable[..., None]] = {
        "coco": partial(coco.write, classes=classes, polygons=polygons),
        "yolo": partial(yolo.write, classes=classes),
        "png": partial(png.write, classes=classes),
        "labelme": labelme.write,
        "cvat": partial(cvat.write, classes=classes),
        "geojson": geojson.write,
    }
    with appearing(out) as folder:
        writers[form](folder, annotated(masks), root=masks.root)
        if form == "yolo":
            _tell_loss(masks, folder)
    if masks.instances.empty:
        raise DataError(f"{masks.source}: expected a row for each image, got none.")
    objects = int((masks.instances.EncodedPixels != "").sum())
    LOG.info("%s: %d images, %d objects", out, masks.instances.ImageId.nunique(), objects)


def _tell_loss(masks: Masks, folder: Path) -> None:
    """Print what is left of the objects where a trainer reads YOLO's labels."""
    import numpy as np

    from pipeline.annotations.yolo import as_trained
    from pipeline.metrics.matching import score_labels
    from pipeline.metrics.metric import score
    from pipeline.metrics.registry import find_metric

    metric = find_metric(masks.metric)
    terms, ious = [], [np.zeros(0)]
    for image in annotated(masks):
        label = folder / "labels" / image.path.relative_to(masks.root).with_suffix(".txt")
        shape = image.height, image.width
        read = as_trained(label, masks.classes, *shape)
        for names in [masks.classes] if metric.pools_classes else [[n] for n in masks.classes]:
            true_hw, read_hw = (
                drawn([text for name, text in objects if name in names], *shape)
                for objects in (image.objects, read)
            )
            terms.append(score_labels(metric, true_hw, read_hw))
            both, true_px, read_px = (
                np.bincount(labels.ravel(), minlength=true_hw.max() + 1)[1:]
                for labels in (np.where(true_hw == read_hw, true_hw, 0), true_hw, read_hw)
            )
            ious.append(both / (true_px + read_px - both))
    every = np.concatenate(ious)
    if len(every):
        LOG.info(
            "read as a trainer does: %s %.5f of 1, mean IoU of the objects %.5f, of the worst %.3f",
            *(metric.label, score(np.stack(terms, axis=1)), every.mean(), every.min()),
        )


def drawn(texts: Sequence[str], height: int, width: int) -> "Labels":
    """Draw masks as labels 1..n; where they share pixels, the smallest is on top."""
    import numpy as np

    from pipeline.masks.rle import fill, parse_rows
    from pipeline.masks.rle_forms import part

    columns_wh = np.zeros((width, height), np.int32)
    runs, owners = part(*parse_rows(list(texts), height, width), height * width)
    fill(columns_wh.ravel(), runs, owners + 1)
    return columns_wh.T


if __name__ == "__main__":
    main()
