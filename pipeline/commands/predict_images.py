"""A trained run on images of your own: `./run.sh predict_images SCENES... --run NAME --out DIR`.

Reads pictures and folders of pictures, of any size, with `--recursive` also the folders in those,
and the run's networks and rules, or with `--model FILE` instead of `--run NAME` those of a file
that `export_model` wrote. Writes into the folder --out for each, as soon as it is done,
`<name>.overlay.png` and `<name>.geojson` with the objects' outlines in its pixels, x to the right
and y down from the outer corner of the first one, and at the end `instances.csv` with the objects
of all that is in --out, their class where there are several. A name is that of a file, or its path
in the folder that was given.

A large image is predicted in windows as large as the images that the run learned from, and what the
rules decide of a whole image holds for cells of that size. Stopped, the same command goes on where
it was, and what is finished is not predicted again. A folder --out takes what one model finds.
"""

import logging
import shutil
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.config.reading import Reading
from pipeline.data.decoding import UnusableImageError
from pipeline.data.images import ENDINGS, list_images, name_defect, shown
from pipeline.errors import DataError, about
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.jobs.lock import Lock
from pipeline.windows import BLOCK_PX

if TYPE_CHECKING:
    from pipeline.package.model import FoundObject, Model
    from pipeline.windows.pixels import Picture

LOG = logging.getLogger("pipeline.commands.predict_images")
OVERLAY, OUTLINES = ".overlay.png", ".geojson"
RECORDS, DONE = ".scenes", "done.json"
"""Folder in --out with a folder for each scene, and what is written last there."""


def main() -> None:
    """Read the command line and predict."""
    parser = argument_parser(__doc__)
    parser.add_argument("scenes", type=Path, nargs="+", help="pictures, or folders of pictures")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="a finished run, by name or folder")
    source.add_argument("--model", type=Path, help="instead of it, a file that export_model wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--recursive", action="store_true", help="also folders in folders")
    parser.add_argument(
        "--block",
        type=_side,
        default=BLOCK_PX,
        metavar="PX",
        help=f"side of what memory holds of the maps at a time ({BLOCK_PX}); changes no result",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    with exit_codes(resumes=True):
        given = [of_caller(path) for path in arguments.scenes]
        scenes = find_scenes(given, recursive=arguments.recursive)
        out = of_caller(arguments.out)
        predict_scenes(scenes, _model(arguments), out, block_px=arguments.block)


def _side(text: str) -> int:
    if not text.isdecimal() or not 64 <= int(text) <= 2**16:
        raise ArgumentTypeError(f"expected a whole number from 64 to 65536, got {text!r}")
    return int(text)


def _model(arguments: Namespace) -> "Model":
    from pipeline.package.contents import Package
    from pipeline.package.model import Model
    from pipeline.package.model_file import load_model

    if arguments.model is not None:
        return load_model(of_caller(arguments.model))
    return Model(Package.of_run(open_run(arguments.run)))


def find_scenes(given: Sequence[Path], *, recursive: bool = False) -> dict[str, Path]:
    """Return the paths of all scenes by their names, those of a folder sorted.

    Raises:
        DataError: A path leads to none, or two scenes have one name.
    """
    scenes: dict[str, Path] = {}
    for path in given:
        for name, scene in _find(path, recursive=recursive):
            other = scenes.setdefault(name, scene)
            if not other.samefile(scene):
                raise DataError(
                    f"{shown(scene)}: expected a name that no other scene has, as the files "
                    f"written for it get that name; {shown(other)} has it, too. Rename one, use "
                    "two folders --out, or give a folder that holds both, with --recursive."
                )
    return scenes


def _find(path: Path, *, recursive: bool) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    found = list_images(path, "**/*" if recursive else "*") if path.is_dir() else []
    scenes = [scene for scene in found if not scene.name.endswith(OVERLAY)]
    if len(scenes) < len(found):
        LOG.info("%s: *%s are written by this command, and left out", path, OVERLAY)
    if not scenes:
        what = "a folder without pictures" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a picture, or a folder of pictures ({', '.join(ENDINGS)}), found "
            f"{what}. Correct the path{'' if recursive else ', or give --recursive'}."
        )
    for scene in scenes:
        yield scene.relative_to(path).as_posix(), scene


def open_scene(path: Path, name: str, reading: Reading) -> "Picture":
    """Read a picture as stage 0 would, if files of its name can be written.

    Raises:
        DataError: It cannot be read, or its name not be used.
    """
    from pipeline.windows.pixels import Picture

    with about(shown(path)):
        defect = name_defect(name, OVERLAY)
        if defect:
            raise UnusableImageError(f"{defect}. Rename the file")
        return Picture.from_file(path, name, reading)


def predict_scenes(
    scenes: Mapping[str, Path], model: "Model", out: Path, *, block_px: int = BLOCK_PX
) -> None:
    """Write the objects of each scene.

    Args:
        scenes: Path of each by its name.
        model: Finds the objects.
        out: Folder to write to; it may hold what this model found before.
        block_px: Side of what memory holds of the maps at a time.

    Raises:
        ArtifactError: `out` holds what another model found.
        DataError: Some scenes cannot be read, or changed since their objects were written; the
            others are written.
    """
    from pipeline.windows.store import refuse_others

    task = model.config.task
    claim, of_model = out / RECORDS / "model.json", {"model": model.identity}
    failed: list[str] = []
    with Lock(out / RECORDS / "lock", str(out)).take(wait=True):
        refuse_others(claim, of_model, "objects")
        write_json(claim, of_model)
        LOG.info("predicting on %s", model.device)
        try:
            for name, path in scenes.items():
                try:
                    scene = open_scene(path, name, task.reading)
                    count = _predict(scene, model, out, block_px)
                except DataError as error:
                    LOG.error("%s", error)
                    failed.append(shown(name))
                else:
                    LOG.info("%s: %d %s", path, count, task.object_name[count != 1])
        finally:  # stopped on the way, too: what was found is kept
            _write_table(out, task.classes)
    if failed:
        raise DataError(f"{len(failed)} of {len(scenes)} were not predicted: {', '.join(failed)}.")


def _predict(scene: "Picture", model: "Model", out: Path, block_px: int) -> int:
    """Write the objects of a scene, unless they are there; return how many there are.

    Raises:
        DataError: There are those of other pixels.
    """
    record = out / RECORDS / scene.name.replace("/", "_/")
    done, work = record / DONE, record / "windows"
    result = read_json(done) if done.exists() else None
    if result is not None and result["pixels"] != scene.identity:
        raise DataError(
            f"{shown(scene.name)}: expected the pixels whose objects are in {out}, got others: the "
            f"file, or how it is read, has changed. Give another --out; or delete {record} to have "
            "it predicted anew."
        )
    if result is None or not all((out / name).exists() for name in result["files"]):
        found = [*model.find(scene, work, block_px=block_px, progress=True)]
        objects = {name: [one for one in found if one.class_id == name] for name in model.classes}
        result = {
            "name": scene.name,
            "pixels": scene.identity,
            "files": _write(out, scene, objects),
            "rows": [
                (class_id, text)
                for class_id, of_class in objects.items()
                for text in [one.rle for one in of_class] or [""]
            ],
        }
        write_json(done, result)
    shutil.rmtree(work, ignore_errors=True)
    return sum(text != "" for _, text in result["rows"])


def _write_table(out: Path, classes: Sequence[str]) -> None:
    """Write the table of all scenes that are done, by name."""
    import pandas as pd

    from pipeline.masks.instances import CLASS_COLUMNS, columns_of, write_instances

    done = sorted(map(read_json, (out / RECORDS).rglob(DONE)), key=itemgetter("name"))
    rows = [(each["name"], *row) for each in done for row in each["rows"]]
    if rows:
        table = pd.DataFrame(rows, columns=CLASS_COLUMNS, dtype=str)
        write_instances(out / "instances.csv", table[columns_of(classes)])
        LOG.info("%s", out)


def _write(
    out: Path, scene: "Picture", objects: "Mapping[str, Sequence[FoundObject]]"
) -> list[str]:
    """Write outlines of a picture's objects, and a picture of them; return the files' names."""
    import cv2
    import numpy as np

    from pipeline.jobs.artifacts import write_atomic
    from pipeline.masks.outlines import to_geojson
    from pipeline.masks.rle import fill, parse_rows
    from pipeline.report.overlay import overlay

    properties = [
        {
            "ImageId": scene.name,
            **({"ClassId": class_id} if len(objects) > 1 else {}),
            "object": number,
            "area_px": one.area_px,
            "mean_probability": float(np.round(one.mean_probability, 4)),
        }
        for class_id, of_class in objects.items()
        for number, one in enumerate(of_class, 1)
    ]
    every = [one for of_class in objects.values() for one in of_class]
    files = [f"{scene.name}{ending}" for ending in (OUTLINES, OVERLAY)]
    write_json(out / files[0], to_geojson([one.polygons for one in every], properties))
    labels_wh = np.zeros((scene.width, scene.height), np.int32)
    runs, owners = parse_rows([one.rle for one in every], scene.height, scene.width)
    fill(labels_wh.ravel(), runs, owners + 1)
    drawn_bgr = cv2.cvtColor(overlay(scene.image_hwc, labels_wh.T), cv2.COLOR_RGB2BGR)
    write_atomic(out / files[1], cv2.imencode(".png", drawn_bgr)[1].tobytes())
    return files


if __name__ == "__main__":
    main()
