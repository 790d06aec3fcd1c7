"""GeoJSON in pixel coordinates, a file an image: outlines along the edges of pixels."""

import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.annotations.annotation import Annotated
from pipeline.annotations.polygons import outline
from pipeline.masks.outlines import to_geojson
from pipeline.masks.rle import parse_runs


def write(out: Path, images: Iterable[Annotated], *, root: Path) -> None:
    """Write `<image>.geojson` for each image, named as it is below `root`, its folder."""
    for image in images:
        shape = image.height, image.width
        name = image.path.relative_to(root).as_posix()
        properties = [
            {
                "ImageId": name,
                "ClassId": class_name,
                "object": number,
                "area_px": int(parse_runs(text, *shape)[:, 1].sum()),
            }
            for number, (class_name, text) in enumerate(image.objects, start=1)
        ]
        outlines = [outline(text, *shape) for _, text in image.objects]
        path = out / f"{name}.geojson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(to_geojson(outlines, properties)), encoding="utf-8")
