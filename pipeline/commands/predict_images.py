"""A trained run on images of your own: `./run.sh predict_images SCENES... --run NAME --out DIR`.

Reads pictures, rasters with coordinates, and folders of both, with `--recursive` also the folders
in those, and the run's networks and rules, or with `--model FILE` instead of `--run NAME` those of
a file that `export_model` wrote. Writes into the folder --out for each, as soon as it is done,
`<name>.overlay.png`, and `<name>.geojson` with the objects' outlines: of a picture in pixels, x to
the right and y down from the outer corner of the first one, of a raster in longitude and latitude,
and then `<name>.gpkg`, too. At the end it writes `instances.csv` with the masks of all that is in
--out, and `objects.csv` with place and size of what is in rasters. A name is that of a file, or its
path in the folder that was given.

A large image is predicted in windows as large as the images that the run learned from, and what the
rules decide of a whole image holds for cells of that size. Stopped, the same command goes on where
it was, and what is finished is not predicted again. A folder --out takes what one model finds.
"""

import logging
import shutil
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands._runs import open_run
from pipeline.config.paths import of_caller
from pipeline.data.images import ENDINGS, list_images, shown
from pipeline.errors import ArtifactError, DataError
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.command import argument_parser, exit_codes
from pipeline.jobs.lock import Lock
from pipeline.windows import BLOCK_PX

if TYPE_CHECKING:
    from pipeline.package.model import Model
    from pipeline.scenes.scene import Scene

LOG = logging.getLogger("pipeline.commands.predict_images")
SCENES = (*ENDINGS, ".jp2", ".vrt")
"""How files that are looked for in folders end; a file that is named may end otherwise."""
RECORDS, DONE = ".scenes", "done.json"
"""Folder in --out that holds one for each scene, and what is written last there."""
NOTHING: Mapping[str, Any] = {}


def main() -> None:
    """Read the command line and predict."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "scenes", type=Path, nargs="+", help="pictures, rasters, or folders of them"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="a finished run, by name or folder")
    source.add_argument("--model", type=Path, help="instead of it, a file that export_model wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--recursive", action="store_true", help="also folders in folders")
    parser.add_argument("--bands", help="of rasters: numbers of red, green and blue, such as 3,2,1")
    parser.add_argument(
        "--stretch",
        help="of rasters: none, minmax:LOW,HIGH, percentile:2,98 or gain:GAIN,OFFSET: how values "
        "become 0 to 255",
    )
    parser.add_argument(
        "--gsd", type=_metres, metavar="METRES", help="resample rasters to pixels of this size"
    )
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
        how, out = _reading(arguments), of_caller(arguments.out)
        predict_scenes(scenes, _model(arguments), out, how=how, block_px=arguments.block)


def _side(text: str) -> int:
    if not text.isdecimal() or not 64 <= int(text) <= 2**16:
        raise ArgumentTypeError(f"expected a whole number from 64 to 65536, got {text!r}")
    return int(text)


def _metres(text: str) -> float:
    with suppress(ValueError):
        if 0 < (metres := float(text)) < inf:
            return metres
    raise ArgumentTypeError(f"expected metres above 0, got {text!r}")


def _reading(arguments: Namespace) -> dict[str, Any]:
    """Return what is said of rasters, as `open_raster` takes it."""
    from pipeline.scenes.bands import parse_bands
    from pipeline.scenes.stretch import parse_stretch

    said = {
        "bands": None if arguments.bands is None else parse_bands(arguments.bands),
        "stretch": None if arguments.stretch is None else parse_stretch(arguments.stretch),
        "gsd": arguments.gsd,
    }
    return {name: value for name, value in said.items() if value is not None}


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
    from pipeline.scenes.quicklook import OVERLAY

    if path.is_file():
        yield path.name, path
        return
    found = list_images(path, "**/*" if recursive else "*", SCENES) if path.is_dir() else []
    scenes = [scene for scene in found if not scene.name.endswith(OVERLAY)]
    if len(scenes) < len(found):
        LOG.info("%s: *%s are written by this command, and left out", path, OVERLAY)
    if not scenes:
        what = "a folder without any" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a picture, a raster, or a folder of them ({', '.join(SCENES)}), "
            f"found {what}. Correct the path{'' if recursive else ', or give --recursive'}."
        )
    for scene in scenes:
        yield scene.relative_to(path).as_posix(), scene


def predict_scenes(
    scenes: Mapping[str, Path],
    model: "Model",
    out: Path,
    *,
    how: Mapping[str, Any] = NOTHING,
    block_px: int = BLOCK_PX,
) -> None:
    """Write the objects of each scene.

    Args:
        scenes: Path of each by its name.
        model: Finds the objects.
        out: Folder to write to; it may hold what this model found before.
        how: As in `open_scene`.
        block_px: Side of what memory holds of the maps at a time.

    Raises:
        ArtifactError: `out` holds what another model found.
        DataError: Some scenes cannot be read, or changed since their objects were written; the
            others are written.
    """
    from pipeline.scenes.scene import open_scene
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
                    with open_scene(path, name, model.config.data, how) as scene:
                        count = _predict(scene, model, out, block_px)
                except (ArtifactError, DataError) as error:
                    LOG.error("%s", error)
                    failed.append(shown(name))
                else:
                    LOG.info("%s: %d %s", path, count, task.object_name[count != 1])
        finally:  # stopped on the way, too: what was found is kept
            _write_table(out, task.classes)
    if failed:
        raise DataError(f"{len(failed)} of {len(scenes)} were not predicted: {', '.join(failed)}.")


def _predict(scene: "Scene", model: "Model", out: Path, block_px: int) -> int:
    """Write the objects of a scene, unless they are there; return how many there are.

    Raises:
        DataError: There are those of other pixels.
    """
    from pipeline.scenes.scene import write_files

    record = out / RECORDS / "scenes" / scene.name.replace("/", "_/")
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
            **write_files(out, scene, objects),
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

    done = sorted(map(read_json, (out / RECORDS / "scenes").rglob(DONE)), key=itemgetter("name"))
    rows = [(each["name"], *row) for each in done for row in each["rows"]]
    if rows:
        table = pd.DataFrame(rows, columns=CLASS_COLUMNS, dtype=str)
        write_instances(out / "instances.csv", table[columns_of(classes)])
        LOG.info("%s", out)
    rasters = [each for each in done if each["is_raster"]]
    names = [one["name"] for one in rasters if all((out / name).exists() for name in one["files"])]
    for name in sorted({one["name"] for one in rasters} - {*names}):
        LOG.warning(
            "%s: files of it are gone: objects.csv leaves it out until it is given again", name
        )
    if rasters:
        from pipeline.scenes.vectors import write_table

        write_table(out / "objects.csv", out, names)


if __name__ == "__main__":
    main()
