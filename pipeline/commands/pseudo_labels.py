"""Labels by a finished run for images that have none, to train on: `./run.sh pseudo_labels RUN`.

Reads the run's networks and rules, and its test images or a folder of pictures. Writes the folder
--out, whole or not at all, for `data.extra` of another run with the same folds: `images/`, and for
each fold `masks_fold<k>.csv`, by that fold's network alone, which saw no scene that the fold
validates. Only images are labelled that the network is sure of (`pipeline.selection.certainty`);
`confidence.csv` has all of them, and `pseudo_labels.json` says what the labels are from.
"""

import logging
import os
import shutil
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.data.catalog import Catalog
from pipeline.data.extra import PSEUDO, fold_table
from pipeline.data.images import ENDINGS, list_images, name_defect, read_picture, shown
from pipeline.data.rendered import appearing
from pipeline.data.verify import verify_images
from pipeline.errors import ConfigError, DataError
from pipeline.jobs.artifacts import sha256_file, write_atomic, write_json
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.jobs.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.config.competitions import Competition
    from pipeline.config.reading import Reading
    from pipeline.data.decoding import Picture
    from pipeline.masks.rle import Labels
    from pipeline.package.model import Model
    from pipeline.selection.certainty import Certainty

    Labeller = Callable[[Path], tuple[Picture, dict[str, Labels], Certainty, bool]]

LOG = logging.getLogger("pipeline.commands.pseudo_labels")
LIMITS = {
    "low": (0.3, "lower level of probability, whose mask is compared with that of the higher one"),
    "high": (0.7, "higher level"),
    "min_iou": (0.8, "of the two masks, where objects are found; images with less are left out"),
    "max_empty": (0.1, "highest probability in an image, or class, without objects"),
}


def main() -> None:
    """Read the command line and label."""
    parser = argument_parser(__doc__)
    parser.add_argument("run", help="a finished run, by name or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--images", type=Path, help="folder of pictures; default: the test images")
    for name, (default, text) in LIMITS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, default=default, help=f"{text} ({default})"
        )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        limits = _limits(arguments)
        run = open_run(arguments.run)
        given = arguments.images
        images = _test_images(run) if given is None else _pictures(of_caller(given))
        label_images(run, images, of_caller(arguments.out), limits)


def _limits(arguments: Namespace) -> dict[str, float]:
    """Return the values of LIMITS.

    Raises:
        ConfigError: One is no probability, or the levels are not in order.
    """
    limits = {name: getattr(arguments, name) for name in LIMITS}
    for name, value in limits.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: expected a number in 0..1.")
    if limits["low"] >= limits["high"]:
        raise ConfigError(f"--low {limits['low']}: expected less than --high {limits['high']}.")
    return limits


def _test_images(run: Run) -> dict[str, Path]:
    """Return the run's test images by the names that they are copied to, as pictures.

    Raises:
        DataError: There is none.
    """
    catalog = Catalog.of(run)
    endings = catalog.competition.endings
    images = {}
    for image_id in catalog.usable_test_ids:
        path = catalog.test_path(image_id)
        ending = next(each for each in endings if str(path).endswith(f"{image_id}{each}"))
        images[f"{image_id}{ending if endings[ending] is None else '.png'}"] = path
    if not images:
        raise DataError(f"{run.folder}: expected test images, it has none. Give --images.")
    return images


def _pictures(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder and of those below it.

    Raises:
        DataError: There is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} (--images): expected a folder of pictures. Correct the path.")
    found = {str(path.relative_to(folder)): path for path in list_images(folder, "**/*")}
    if not found:
        raise DataError(f"{folder} (--images): expected pictures, found none. Correct the path.")
    return found


def label_images(run: Run, images: dict[str, Path], out: Path, limits: dict[str, float]) -> None:
    """Label images with each fold's network.

    Args:
        run: Finished up to its calibration.
        images: Path of each image by its name in `out`.
        out: Folder to make.
        limits: Of LIMITS.

    Raises:
        ArtifactError: The run is not finished.
        DataError: `out` is there already, or a network is sure of no image.
    """
    import pandas as pd

    from pipeline.package.contents import Package
    from pipeline.package.model import Model

    task, package = run.config.task, Package.of_run(run)
    folds = run.result("split").checked("folds.csv")
    with appearing(out) as folder:
        unusable = _defects(images, task.reading)
        for name, defect in unusable.items():
            LOG.warning("left out: %s: %s", shown(name), defect)
        usable = {name: path for name, path in images.items() if name not in unusable}
        tables = []
        for fold in range(run.config.folds.count):
            label = _labeller(Model(package.of_fold(fold)), limits)
            tables.append(_label_fold(fold, usable, label, folder, task))
        table = pd.concat(tables).to_csv(index=False, lineterminator="\n")
        write_atomic(folder / "confidence.csv", table.encode())
        made_by = {"run": run.config.name, "classes": [*task.classes], "objects": task.objects}
        of_folds = {"folds": run.config.folds.count, "folds_sha256": sha256_file(folds)}
        write_json(folder / PSEUDO, made_by | of_folds | limits | {"unusable": unusable})
    LOG.info("%s", out)


def _defects(images: Mapping[str, Path], reading: "Reading") -> dict[str, str]:
    """Say what is wrong with the images that cannot be used, or with their names."""
    jobs = os.cpu_count() or 1
    verdicts = verify_images(
        [*images.values()], None, jobs=jobs, sizes_differ=True, reading=reading
    )
    named = {
        name: name_defect(name) or why for name, why in zip(images, verdicts.defect, strict=True)
    }
    return {name: why for name, why in named.items() if why}


def _labeller(model: "Model", limits: Mapping[str, float]) -> "Labeller":
    """Return what labels an image: pixels, objects, how sure they are, and if that is enough."""
    from pipeline.masks.rle import decode_labels
    from pipeline.selection.certainty import certainty
    from pipeline.windows import pixels

    def label(path: Path) -> "tuple[Picture, dict[str, Labels], Certainty, bool]":
        picture_hwc = read_picture(path, model.config.task.reading)
        maps, objects = model.look(pixels.Picture(str(path), picture_hwc))
        found = {
            class_id: decode_labels(
                [one.rle for one in objects if one.class_id == class_id], *picture_hwc.shape[:2]
            )
            for class_id in maps
        }
        sure = certainty(maps, found, limits["low"], limits["high"])
        kept = sure.suffices(limits["min_iou"], limits["max_empty"])
        return picture_hwc, found, sure, kept

    return label


def _label_fold(
    fold: int,
    images: Mapping[str, Path],
    label: "Labeller",
    folder: Path,
    task: "Competition",
) -> "pd.DataFrame":
    """Write a fold's table and the images in it; return the rows of confidence.csv.

    Raises:
        DataError: It would be empty.
    """
    import pandas as pd

    from pipeline.masks.instances import CLASS_COLUMNS, columns_of, write_instances
    from pipeline.masks.rle import encode_labels

    rows, masks = [], []
    for name, path in tqdm(images.items(), f"fold {fold}", unit="image", disable=None):
        picture_hwc, found, sure, kept = label(path)
        objects = sum(int(labels_hw.max()) for labels_hw in found.values())
        rows.append((name, fold, objects, sure.iou, sure.max_probability, kept))
        if kept:
            _copy(path, picture_hwc, folder / "images" / name)
            for class_id, labels_hw in found.items():
                masks += [(name, class_id, text) for text in encode_labels(labels_hw) or [""]]
    columns = ["ImageId", "fold", "objects", "iou", "max_probability", "kept"]
    table = pd.DataFrame(rows, columns=columns)
    told = []
    for what, part in (("with objects", table.objects > 0), ("without", table.objects == 0)):
        told.append(f"{(table.kept & part).sum()} of {part.sum()} images {what}")
    LOG.info("fold %d: sure of %s", fold, " and ".join(told))
    if not masks:
        raise DataError(
            f"fold {fold}: expected a network that is sure of some image, got none of {len(table)} "
            f"(nan: no such image): the highest IoU is {table.iou.max():.3f}, the lowest "
            f"probability without objects {table.max_probability[table.objects == 0].min():.3f}. "
            "Lower --min-iou or raise --max-empty."
        )
    frame = pd.DataFrame(masks, columns=CLASS_COLUMNS, dtype=str)
    write_instances(folder / fold_table(fold), frame[columns_of(task.classes)])
    return table.round({"iou": 6, "max_probability": 6})


def _copy(path: Path, picture_hwc: "Picture", to: Path) -> None:
    """Copy an image that is a picture; write one of any other."""
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in ENDINGS:
        shutil.copyfile(path, to)
    else:
        import cv2

        write_atomic(to, cv2.imencode(".png", picture_hwc[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    main()
