"""A trained run on pictures of your own: `./run.sh predict_image PICTURES --run NAME`.

Reads a picture or a folder of pictures, of any size, and the run's networks and rules. Writes into
the folder --out: `instances.csv` with the objects of all pictures, their class where there are
several, and for each picture
`<name>.overlay.png` and `<name>.geojson` with the objects' outlines in its pixels, x to the right
and y down from the outer corner of the first one. A large picture is predicted in windows as large
as the images that the run learned from; filters and areas of the rules hold for the whole picture.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.config.reading import Reading
from pipeline.data.decoding import Picture, UnusableImageError
from pipeline.data.images import ENDINGS, list_images, name_defect, read_picture, shown
from pipeline.errors import DataError, about
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run

if TYPE_CHECKING:
    from pipeline.maps import ImageMaps
    from pipeline.masks.rle import Labels

    Layers = Mapping[str, ImageMaps]  # of each class

LOG = logging.getLogger("pipeline.commands.predict_image")
OVERLAY = ".overlay.png"


def main() -> None:
    """Read the command line and predict."""
    parser = argument_parser(__doc__)
    parser.add_argument("pictures", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument("--run", required=True, help="a finished run, by name or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=False):
        paths = find_pictures(of_caller(arguments.pictures))
        predict_pictures(paths, open_run(arguments.run), of_caller(arguments.out))


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


def predict_pictures(paths: list[Path], run: Run, out: Path) -> None:
    """Write the objects of each picture.

    Raises:
        ArtifactError: The run is not finished.
        DataError: Some pictures cannot be read; the others are written.
    """
    import pandas as pd

    from pipeline.inference.predict import trained_networks
    from pipeline.masks.instances import CLASS_COLUMNS, columns_of, write_instances
    from pipeline.masks.rle import encode_labels

    task = run.config.task
    find = finder(run)
    predict = predictor(run, trained_networks(run))
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
            layers = predict(path, picture_hwc)
            found = find(layers)
            for class_id, labels_hw in found.items():
                texts = encode_labels(labels_hw) or [""]
                rows += [(path.name, class_id, text) for text in texts]
            _write(out, path.name, picture_hwc, found, layers)
            count = sum(int(labels_hw.max()) for labels_hw in found.values())
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


def finder(run: Run) -> "Callable[[Layers], dict[str, Labels]]":
    """Return what cuts a picture's maps into the objects of each class by the run's rules.

    The labels are int32 (h, w): 0 for background, 1..n for objects, or 1 for a mask.

    Raises:
        ArtifactError: The run is not calibrated.
    """
    from pipeline.data.catalog import Catalog
    from pipeline.jobs.artifacts import read_json
    from pipeline.selection.classes import read_classes
    from pipeline.selection.rules import find_objects
    from pipeline.selection.thresholds import Rules

    task = run.config.task
    source = run.result("calibrate").checked("rules.json")
    rules = read_classes(read_json(source), task.classes, str(source))
    if task.mask_shape is not None:  # areas were calibrated in smaller masks
        catalog = Catalog.of(run)
        times = math.prod(catalog.sizes.largest) / math.prod(task.mask_shape)
        rules = {
            name: own.scaled(times) if isinstance(own, Rules) else own
            for name, own in rules.items()
        }

    def find(layers: "Layers") -> "dict[str, Labels]":
        found = {}
        for class_id, maps in layers.items():
            labels_hw = find_objects(maps, rules[class_id])
            if labels_hw is None:
                labels_hw = np.zeros_like(maps.prob_hw, np.int32)
            found[class_id] = labels_hw if task.objects else np.minimum(labels_hw, 1)
        return found

    return find


def predictor(run: Run, trained: Sequence[Job]) -> "Callable[[Path, Picture], Layers]":
    """Return what predicts the maps of each class of a picture with the mean of some networks.

    Args:
        run: Whose they are.
        trained: Where their weights come from.
    """
    from pipeline.compute.device import Device
    from pipeline.data.catalog import Catalog
    from pipeline.inference.mean_network import MeanNetwork
    from pipeline.inference.predict import as_maps, trained_state
    from pipeline.inference.second_look import look_of_run
    from pipeline.inference.windows import predict_windows

    config, (height, width) = run.config, Catalog.of(run).sizes.largest
    device, look = Device.choose(config.machine), look_of_run(run)
    LOG.info("predicting on %s", device)
    network = MeanNetwork(config, device, map(trained_state, trained), look)

    def predict(path: Path, picture_hwc: Picture) -> "Layers":
        mean = predict_windows(
            network,
            picture_hwc,
            height=height,
            width=width,
            batch_size=config.predict.batch_size,
        )
        return dict(zip(config.task.classes, next(as_maps(mean, [path], config)), strict=True))

    return predict


def _write(
    out: Path,
    name: str,
    picture_hwc: Picture,
    found: dict[str, npt.NDArray[np.int32]],
    layers: "Layers",
) -> None:
    """Write the outlines of what is found of each class, and a picture of it."""
    import cv2

    from pipeline.jobs.artifacts import write_atomic, write_json
    from pipeline.masks.outlines import polygons, to_geojson
    from pipeline.report.overlay import overlay

    every_hw, features = np.zeros(picture_hwc.shape[:2], np.int32), []
    for class_id, labels_hw in found.items():
        count = int(every_hw.max())
        every_hw = np.where(labels_hw > 0, labels_hw + count, every_hw).astype(np.int32)
        area_px = np.bincount(labels_hw.ravel())[1:]
        sums = np.bincount(labels_hw.ravel(), layers[class_id].prob_hw.ravel() / 255)[1:]
        properties = [
            {
                "ImageId": name,
                **({"ClassId": class_id} if len(found) > 1 else {}),
                "object": number,
                "area_px": int(area),
                "mean_probability": round(total / area, 4),
            }
            for number, (area, total) in enumerate(zip(area_px, sums.tolist(), strict=True), 1)
        ]
        features += to_geojson(polygons(labels_hw), properties)["features"]
    write_json(out / f"{name}.geojson", {"type": "FeatureCollection", "features": features})
    drawn_bgr = cv2.cvtColor(overlay(picture_hwc, every_hw), cv2.COLOR_RGB2BGR)
    write_atomic(out / f"{name}{OVERLAY}", cv2.imencode(".png", drawn_bgr)[1].tobytes())


if __name__ == "__main__":
    main()
