"""Layers as small tiles of JSON values: a picture, the map over it, the outlines of objects."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from pipeline.data.catalog import Catalog
from pipeline.data.images import read_image
from pipeline.errors import DataError
from pipeline.masks.outlines import polygons
from pipeline.masks.rle import decode_labels
from pipeline.masks.sizes import Size, Sizes
from pipeline.report.gallery import Filter, Gallery, Tile
from pipeline.report.sample import Maps
from pipeline.report.task import Task

# Longest side of an embedded picture, px; a picture is never enlarged.
IMAGE_PX, MAP_PX = 384, 224
IMAGE_QUALITY, MAP_QUALITY = 62, 50


@dataclass(frozen=True)
class Outlined:
    """Objects of one origin: key in the page, name, colour (a CSS variable), RLEs by layer."""

    key: str
    name: str
    colour: str
    texts: Mapping[Tile, Sequence[str]]


def show(
    galleries: Sequence[Gallery],
    tiles: "Tiles",
    known: Mapping[Tile, Mapping[str, Any]],
    sorts: Mapping[str, str],
    filters: Sequence[Filter],
) -> dict[str, Any]:
    """Return what the page's script shows: each layer once, and who is in which gallery.

    Args:
        galleries: What to show.
        tiles: Makes the tiles.
        known: Of each layer what `known_of` tells.
        sorts: Keys of `known` to sort by, and their names.
        filters: Choices of tiles.
    """
    every = list(dict.fromkeys(tile for gallery in galleries for tile in gallery.tiles))
    place = {tile: index for index, tile in enumerate(every)}
    task = tiles.task
    return {
        "metric": task.score,
        "object": task.one,
        "galleries": [
            asdict(gallery) | {"tiles": [place[tile] for tile in gallery.tiles]}
            for gallery in galleries
        ],
        "layers": [
            {"key": each.key, "name": each.name, "colour": each.colour} for each in tiles.outlined
        ],
        "sorts": dict(sorts),
        "filters": [asdict(each) for each in filters],
        "images": {image_id: tiles.picture(image_id) for image_id in sorted({t[0] for t in every})},
        "tiles": [tiles.tile(tile, known[tile]) for tile in every],
    }


@dataclass
class Tiles:
    """Makes the tiles of a page.

    Attributes:
        task: Of the run.
        catalog: Where the images are.
        sizes: Of the masks.
        outlined: Whose objects to outline.
        maps: Reads the map of a layer; None where the page shows none.
        unread: Images that could not be read, with the reason.
    """

    task: Task
    catalog: Catalog
    sizes: Sizes
    outlined: list[Outlined]
    maps: Maps | None = None
    unread: dict[str, str] = field(default_factory=dict)

    def picture(self, image_id: str) -> str | None:
        """Return an image as a small picture, None where it cannot be read."""
        try:
            path, reading = self.catalog.train_path(image_id), self.catalog.competition.reading
            image_hwc = read_image(path, *self.catalog.sizes[image_id], reading)
        except DataError as error:
            self.unread[image_id] = str(error)
            return None
        return _embed(image_hwc[..., ::-1], IMAGE_PX, IMAGE_QUALITY)

    def tile(self, tile: Tile, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return a layer's tile: what is `known` of it, its map, and outlines by origin."""
        levels_hw = None if self.maps is None else self.maps(*tile)
        prob = None
        if levels_hw is not None:
            prob = _embed(cv2.applyColorMap(levels_hw, cv2.COLORMAP_CIVIDIS), MAP_PX, MAP_QUALITY)
        size = self.sizes[tile[0]]
        outlines = {each.key: _outlines(each.texts.get(tile, ()), size) for each in self.outlined}
        shown = {"height": size[0], "width": size[1], "prob": prob, "outlines": outlines}
        return {"id": tile[0], **known, **shown}


def _outlines(texts: Sequence[str], size: Size) -> list[str]:
    """Return a path per object in the mask's pixels, no finer than the picture shows."""
    tolerance_px = 0.8 * max(1.0, max(size) / IMAGE_PX)
    return [
        "".join(_path(ring, tolerance_px) for polygon in parts for ring in polygon)
        for parts in polygons(decode_labels(texts, *size))
    ]


def _path(ring: np.ndarray, tolerance_px: float) -> str:
    points = cv2.approxPolyDP(ring.astype(np.int32), tolerance_px, closed=True)[:, 0]
    steps = np.diff(points, axis=0).tolist()
    return f"M{points[0][0]} {points[0][1]}l" + " ".join(f"{x} {y}" for x, y in steps) + "z"


def _embed(image_hwc: np.ndarray, longest_px: int, quality: int) -> str:
    """Return a picture, BGR, as the text that a page shows without a file."""
    scale = longest_px / max(image_hwc.shape[:2])
    if scale < 1:
        image_hwc = cv2.resize(image_hwc, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".webp", image_hwc, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return "data:image/webp;base64," + base64.b64encode(content.tobytes()).decode()
