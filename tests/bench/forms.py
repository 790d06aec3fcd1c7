"""Annotations of other tools: processor time and memory for 20,000 objects, pixel by pixel.

    OMP_NUM_THREADS=1 python -m tests.bench.forms

Rotated rectangles of 4 to 20,000 px, twenty in each image of 768x768 px, are written in each form
and read by a new process, a quarter of them and all, and every pixel must come back. Beside them
pycocotools, which loads the same COCO file and decodes its polygons; and the F2 that is left where
a trainer reads YOLO's labels.
"""

import contextlib
import io
import resource
import shutil
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from pipeline.annotations import coco, cvat, labelme, yolo
from pipeline.annotations.annotation import Source
from pipeline.commands.export_masks import drawn
from pipeline.metrics.matching import score_labels
from pipeline.metrics.metric import score
from pipeline.metrics.registry import find_metric
from tests.bench.sizes import sized
from tests.drawn import SPAN, rectangles

OBJECTS, EACH = sized((20_000, 20), (40, 10))
SHIP = {"classes": ["ship"]}
FORMS = {
    "coco, masks": (coco, partial(coco.write, **SHIP), "annotations.json"),
    "coco, polygons": (coco, partial(coco.write, **SHIP, polygons=True), "annotations.json"),
    "yolo": (yolo, partial(yolo.write, **SHIP), ""),
    "labelme": (labelme, labelme.write, ""),
    "cvat": (cvat, partial(cvat.write, **SHIP), "annotations.xml"),
}


def digest(images):
    """Go through images, keep none, and return a checksum of all names and pixels."""
    total = 0
    for each in images:
        total = zlib.crc32(repr((each.path.name, each.objects)).encode(), total)
    return total


def measured(function, *arguments):
    """Return a result, the processor's seconds, and by how much the peak of memory rose, MiB."""
    start, before_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = function(*arguments)
    seconds = time.process_time() - start
    rise_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return result, seconds, rise_kib / 1024


def take(read, path, images):
    rejected = []
    found = digest(read(Source(path, images), rejected))
    assert rejected == []
    return found


def pycocotools(path):
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(path))
    for annotation in theirs.dataset["annotations"]:
        theirs.annToRLE(annotation)


def alone(function, *arguments):
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(measured, function, *arguments).result()


def compare(name, images, folder):
    module, write, file = FORMS[name]
    wanted = digest(images)
    written_s, told = 0.0, []
    for count in (len(images) // 4, len(images)):
        out = folder / f"{name}-{count}"
        out.mkdir()
        _, written_s, _ = measured(partial(write, out, images[:count], root=folder / "images"))
        beside = folder / "images" if module in (coco, cvat) else None
        found, read_s, most_mib = alone(take, module.read, out / file, beside)
        told.append(f"{most_mib:.0f} MiB more at {count} images")
    assert found == wanted
    print(f"{name}: read in {read_s:.1f} s, written in {written_s:.1f} s; {', '.join(told)}")
    if module is coco:
        _, seconds, most_mib = alone(pycocotools, out / file)
        print(f"  pycocotools: {seconds:.1f} s, {most_mib:.0f} MiB more")
    if module is yolo:
        trained(out, images)


def trained(out, images):
    terms = []
    for each in images:
        label = out / "labels" / each.path.with_suffix(".txt").name
        tables = each.objects, yolo.as_trained(label, ["ship"], SPAN, SPAN)
        maps = (drawn([text for _, text in objects], SPAN, SPAN) for objects in tables)
        terms.append(score_labels(find_metric("f2"), *maps))
    print(f"  as a trainer reads it: F2 {score(np.stack(terms, axis=1)):.5f} of 1")


def main():
    folder = Path(tempfile.mkdtemp())
    try:
        images = rectangles(folder / "images", OBJECTS, EACH)
        print(f"{OBJECTS} objects in {len(images)} images of {SPAN}x{SPAN} px")
        for name in FORMS:
            compare(name, images, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
