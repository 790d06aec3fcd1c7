"""A trained run on pictures of your own: `./run.sh predict_image PICTURES --run NAME`.

Reads a picture or a folder of pictures, of any size, and the run's networks and rules, or with
`--model FILE` instead of `--run NAME` those of a file that `export_model` wrote. Writes into the
folder --out: `instances.csv` with the objects of all pictures, their class where there are several,
and for each picture `<name>.overlay.png` and `<name>.geojson` with the objects' outlines in its
pixels, x to the right and y down from the outer corner of the first one. A large picture is
predicted in windows as large as the images that the run learned from; filters and areas of the
rules hold for the whole picture.
"""

import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.config.reading import Reading
from pipeline.data.decoding import Picture, UnusableImageError
from pipeline.data.images import ENDINGS, list_images, name_defect, read_picture, shown
from pipeline.errors import DataError, about
from pipeline.jobs.command import argument_parser, exit_codes

if TYPE_CHECKING:
    from pipeline.masks.rle import Labels
    from pipeline.package.model import FoundObject, Model

LOG = logging.getLogger("pipeline.commands.predict_image")
OVERLAY = ".overlay.png"


def main() -> None:
    """Read the command line and predict."""
    parser = argument_parser(__doc__)
    parser.add_argument("pictures", type=Path, help="a picture, or a folder of pictures")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="a finished run, by name or folder")
    source.add_argument("--model", type=Path, help="instead of it, a file that export_model wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        paths = find_pictures(of_caller(arguments.pictures))
        predict_pictures(paths, _model(arguments), of_caller(arguments.out))


def _model(arguments: Namespace) -> "Model":
    from pipeline.package.contents import Package
    from pipeline.package.model import Model
    from pipeline.package.model_file import load_model

    if arguments.model is not None:
        return load_model(of_caller(arguments.model))
    return Model(Package.of_run(open_run(arguments.run)))


def find_pictures(path: Path) -> list[Path]:
    """Return the picture, or the folder's pictures by name.

    Raises:
        DataError: There is none.
    """
    if path.is_file():
        return [path]
    found = list_images(path) if path.is_dir() else []
    pictures = [picture for picture in found if not picture.name.endswith(OVERLAY)]
    if len(pictures) < len(found):
        LOG.info("%s: *%s are written by this command, and left out", path, OVERLAY)
    if not pictures:
        what = "a folder without pictures" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a picture, or a folder of pictures ({', '.join(ENDINGS)}), found "
            f"{what}. Correct the path."
        )
    return pictures


def read(path: Path, reading: Reading) -> Picture:
    """Read a picture as stage 0 would, uint8 (h, w, 3) RGB, if files of its name can be written.

    Raises:
        DataError: It cannot be read, or its name not be used.
    """
    with about(shown(path)):
        defect = name_defect(path.name, OVERLAY)
        if defect:
            raise UnusableImageError(f"{defect}. Rename the file")
        return read_picture(path, reading)


def predict_pictures(paths: list[Path], model: "Model", out: Path) -> None:
    """Write the objects of each picture.

    Raises:
        DataError: Some pictures cannot be read; the others are written.
    """
    import pandas as pd

    from pipeline.masks.instances import CLASS_COLUMNS, columns_of, write_instances
    from pipeline.package.model import describe

    task = model.config.task
    LOG.info("predicting on %s", model.device)
    rows: list[tuple[str, str, str]] = []
    unread: list[str] = []
    try:
        for path in paths:
            try:
                picture_hwc = read(path, task.reading)
            except DataError as error:
                LOG.error("%s", error)
                unread.append(shown(path.name))
                continue
            layers = model.maps(picture_hwc, path)
            found = model.find(layers)
            objects = {name: describe(name, found[name], layers[name]) for name in found}
            for class_id, of_class in objects.items():
                texts = [one.rle for one in of_class] or [""]
                rows += [(path.name, class_id, text) for text in texts]
            _write(out, path.name, picture_hwc, found, objects)
            count = sum(map(len, objects.values()))
            LOG.info("%s: %d %s", path, count, task.object_name[count != 1])
    finally:  # stopped on the way, too: what was found is kept
        if rows:
            table = pd.DataFrame(rows, columns=CLASS_COLUMNS, dtype=str)
            write_instances(out / "instances.csv", table[columns_of(task.classes)])
            LOG.info("%s", out)
    if unread:
        raise DataError(
            f"{len(unread)} of {len(paths)} pictures were not read: {', '.join(unread)}."
        )


def _write(
    out: Path,
    name: str,
    picture_hwc: Picture,
    found: "Mapping[str, Labels]",
    objects: "Mapping[str, Sequence[FoundObject]]",
) -> None:
    """Write the outlines of what is found of each class, and a picture of it."""
    import cv2

    from pipeline.jobs.artifacts import write_atomic, write_json
    from pipeline.masks.outlines import to_geojson
    from pipeline.report.overlay import overlay

    every_hw = np.zeros(picture_hwc.shape[:2], np.int32)
    for labels_hw in found.values():
        every_hw = np.where(labels_hw > 0, labels_hw + every_hw.max(), every_hw).astype(np.int32)
    properties = [
        {
            "ImageId": name,
            **({"ClassId": class_id} if len(objects) > 1 else {}),
            "object": number,
            "area_px": one.area_px,
            "mean_probability": float(np.round(one.mean_probability, 4)),
        }
        for class_id, of_class in objects.items()
        for number, one in enumerate(of_class, 1)
    ]
    outlines = [one.polygons for of_class in objects.values() for one in of_class]
    write_json(out / f"{name}.geojson", to_geojson(outlines, properties))
    drawn_bgr = cv2.cvtColor(overlay(picture_hwc, every_hw), cv2.COLOR_RGB2BGR)
    write_atomic(out / f"{name}{OVERLAY}", cv2.imencode(".png", drawn_bgr)[1].tobytes())


if __name__ == "__main__":
    main()
