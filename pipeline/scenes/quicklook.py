"""A small picture of a scene with the outlines of its objects, to see what was found."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.inference.regions import Box
from pipeline.jobs.artifacts import write_atomic
from pipeline.package.found import FoundObject
from pipeline.report.overlay import COLOURS
from pipeline.scenes.raster import Raster
from pipeline.scenes.source import READ_PX

OVERLAY = ".overlay.png"
MAX_SIDE_PX = 4096
SHIFT = 4  # fractional bits of a point as OpenCV takes it


def write_quicklook(out: Path, scene: Raster, objects: Sequence[FoundObject]) -> list[str]:
    """Write `<name>.overlay.png`, and the world file beside it where the scene has a matrix.

    One pixel is the mean of as many of the scene's as make the longer side 4096 px at most.

    Returns:
        The files' names.

    Raises:
        ArtifactError: The disk is full.
        DataError: The scene cannot be read.
    """
    step = -(-max(scene.height, scene.width) // MAX_SIDE_PX)
    height, width = -(-scene.height // step), -(-scene.width // step)
    image_hwc = np.empty((height, width, 3), np.uint8)
    rows = max(READ_PX // scene.width // step, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        box = Box(top * step, 0, min(bottom * step, scene.height), scene.width)
        missing = [(0, bottom * step - box.bottom), (0, width * step - scene.width), (0, 0)]
        strip_hwc = np.pad(scene.read(box)[0], missing, mode="edge")
        size = (width, bottom - top)
        image_hwc[top:bottom] = cv2.resize(strip_hwc, size, interpolation=cv2.INTER_AREA)
    for number, one in enumerate(objects):
        rings = [ring for polygon in one.polygons for ring in polygon]
        # OpenCV counts from the middle of the first pixel.
        points = [np.rint((ring / step - 0.5) * 2**SHIFT).astype(np.int32) for ring in rings]
        colour = COLOURS[number % len(COLOURS)].tolist()
        cv2.polylines(image_hwc, points, True, colour, 1, cv2.LINE_8, SHIFT)
    files = [f"{scene.name}{OVERLAY}"]
    written = cv2.imencode(".png", cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR))[1]
    if scene.georeference is not None and (matrix := scene.georeference.affine) is not None:
        (a, b, c), (d, e, f) = (matrix * [step, step, 1]).tolist()
        centre = (c + (a + b) / 2, f + (d + e) / 2)
        lines = "".join(f"{number!r}\n" for number in (a, d, b, e, *centre))
        files.append(f"{scene.name}.overlay.pgw")
        write_atomic(out / files[-1], lines.encode())
    write_atomic(out / files[0], written.tobytes())
    return files
