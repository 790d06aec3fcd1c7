"""What is predicted, a picture or a raster, and the files that show what was found in it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Exif

from pipeline.config.data import Data
from pipeline.data.decoding import UnusableImageError
from pipeline.data.images import name_defect, shown
from pipeline.errors import about
from pipeline.jobs.artifacts import write_atomic, write_json
from pipeline.masks.outlines import to_geojson
from pipeline.masks.rle import fill, parse_rows
from pipeline.package.found import FoundObject
from pipeline.report.overlay import overlay
from pipeline.scenes.quicklook import OVERLAY, write_quicklook
from pipeline.scenes.raster import Raster, compare_gsd, is_raster, open_raster
from pipeline.scenes.vectors import OUTLINES, write_scene
from pipeline.windows.pixels import Picture

Scene = Picture | Raster
Objects = Mapping[str, Sequence[FoundObject]]
"""Those of each class."""


def open_scene(
    path: Path, name: str, data: Data, how: Mapping[str, Any]
) -> AbstractContextManager[Scene]:
    """Open a raster, or read a picture as stage 0 would, if files of its name can be written.

    Args:
        path: Of the file.
        name: Of the scene.
        data: What the run says of its images.
        how: What is said of rasters, as `open_raster` takes it; if anything, all are rasters.

    Raises:
        ConfigError: What is said does not fit a raster, or the extra that reads it is missing.
        DataError: It cannot be read, or its name not be used.
    """
    with about(shown(path)):
        defect = name_defect(name, OVERLAY)
        if defect:
            raise UnusableImageError(f"{defect}. Rename the file")
        if not is_raster(path):
            if not how:
                return nullcontext(Picture.from_file(path, name, data.reading))
            _refuse_turned(path)
    raster = open_raster(path, name=name, **how)
    compare_gsd(raster, data)
    return raster


def _refuse_turned(path: Path) -> None:
    with suppress(OSError), Image.open(path) as picture:
        if picture.getexif().get(Exif.Orientation, 1) != 1:
            raise UnusableImageError(
                "EXIF turns this picture, which --bands, --stretch and --gsd do not follow. "
                "Predict it without them, or write it upright"
            )


def write_files(out: Path, scene: Scene, objects: Objects) -> dict[str, Any]:
    """Write a scene's files; return their names, and whether it is a raster.

    Args:
        out: Folder to write to.
        scene: It, open.
        objects: Of each class.

    Raises:
        ArtifactError: The disk is full.
        DataError: The scene cannot be read.
    """
    if isinstance(scene, Picture):
        return {"is_raster": False, "files": _write_picture(out, scene, objects)}
    every = [one for of_class in objects.values() for one in of_class]
    files = write_scene(out, scene, every, [*objects]) + write_quicklook(out, scene, every)
    return {"is_raster": True, "files": files}


def _write_picture(out: Path, scene: Picture, objects: Objects) -> list[str]:
    """Write outlines of a picture's objects, and a picture of them; return the files' names."""
    properties = [
        {
            "ImageId": scene.name,
            **({"ClassId": class_id} if len(objects) > 1 else {}),
            "object": number,
            "area_px": one.area_px,
            "mean_probability": float(np.round(one.mean_probability, 4)),
            "confidence": one.confidence and float(np.round(one.confidence, 4)),
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
