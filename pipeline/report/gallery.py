"""Which images are worth a look, and each of them as a small tile with its objects as outlines.

Outcomes enter; tiles leave as JSON values, pictures embedded. There is a fixed number of tiles a
gallery, so that a page of 200,000 images is not larger than one of 600.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from pipeline.data.catalog import Catalog
from pipeline.data.images import read_image
from pipeline.errors import DataError
from pipeline.masks.outlines import polygons
from pipeline.masks.rle import decode_labels
from pipeline.report.outcomes import Outcomes
from pipeline.seeds import generator

PER_GALLERY = 36
# Longest side of an embedded picture, px; a picture is never enlarged.
IMAGE_PX, MAP_PX = 384, 224
IMAGE_QUALITY, MAP_QUALITY = 62, 50


@dataclass(frozen=True)
class Gallery:
    """Some images and why they are shown, the most telling first."""

    key: str
    title: str
    why: str
    image_ids: list[str]


@dataclass(frozen=True)
class Layer:
    """Ships of one origin: key in the page, name, colour (a CSS variable), texts by image."""

    key: str
    name: str
    colour: str
    objects: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Choice:
    key: str
    title: str
    why: str
    among: Callable[[pd.DataFrame], pd.Series]
    by: tuple[str, ...]


CHOICES = (
    _Choice(
        "misses",
        "Worst misses",
        "The largest objects that were found at no IoU threshold.",
        lambda images: images.missed_px > 0,
        ("missed_px", "n_true"),
    ),
    _Choice(
        "alarms",
        "False alarms",
        "Ships predicted in images without any; the surest first.",
        lambda images: (images.n_true == 0) & (images.n_predicted > 0),
        ("max_probability", "largest_px"),
    ),
    _Choice(
        "merged",
        "Merged ships",
        "One predicted object holds several true ones.",
        lambda images: images.merged > 0,
        ("merged", "n_true"),
    ),
    _Choice(
        "split",
        "Split ships",
        "One true object holds several predicted ones.",
        lambda images: images.split > 0,
        ("split", "largest_px"),
    ),
    _Choice(
        "best",
        "Best",
        "The highest F2 among images with objects.",
        lambda images: images.n_true > 0,
        ("f2", "n_true"),
    ),
)


def galleries_of(outcomes: Outcomes) -> list[Gallery]:
    """Choose the images of each gallery; an empty one is left out."""
    images, galleries = outcomes.images, []
    for choice in CHOICES:
        chosen = images[choice.among(images)]
        chosen = chosen.sort_values([*choice.by, "ImageId"], ascending=False)
        ids = chosen.ImageId.head(PER_GALLERY).tolist()
        why = f"{choice.why} {len(chosen):,} images, {len(ids)} shown."
        galleries.append(Gallery(choice.key, choice.title, why, ids))
    count = min(PER_GALLERY, len(images))
    places = generator(0, "report").choice(len(images), count, replace=False)
    ids = images.ImageId.iloc[np.sort(places)].tolist()
    why = f"Drawn by lot, so that the usual is seen beside the telling. {count} shown."
    galleries.append(Gallery("random", "Random", why, ids))
    return [gallery for gallery in galleries if gallery.image_ids]


def show(
    galleries: Sequence[Gallery],
    tiles: "Tiles",
    known: Mapping[str, Mapping[str, Any]],
    sorts: Mapping[str, str],
) -> dict[str, Any]:
    """Return what the page's script shows: each image once, and who is in which gallery.

    Args:
        galleries: What to show.
        tiles: Makes the tiles.
        known: Of each image what the script sorts, filters and writes: `fold`, `f2`, `n_true`,
            `largest_px`, `caption` and the keys of `sorts`.
        sorts: Keys of `known` to sort by, and their names.
    """
    ids = list(dict.fromkeys(one for gallery in galleries for one in gallery.image_ids))
    place = {image_id: index for index, image_id in enumerate(ids)}
    return {
        "width": tiles.catalog.width,
        "height": tiles.catalog.height,
        "galleries": [
            {
                "key": gallery.key,
                "title": gallery.title,
                "why": gallery.why,
                "tiles": [place[image_id] for image_id in gallery.image_ids],
            }
            for gallery in galleries
        ],
        "layers": [
            {"key": layer.key, "name": layer.name, "colour": layer.colour} for layer in tiles.layers
        ],
        "sorts": dict(sorts),
        "tiles": [tiles.tile(image_id, known[image_id]) for image_id in ids],
    }


@dataclass
class Tiles:
    """Makes the tiles of a page.

    Attributes:
        catalog: Where the images are.
        layers: Whose objects to outline.
        map_path: Path of an image's probability map; None where the page shows none.
        unread: Images that could not be read, with the reason.
    """

    catalog: Catalog
    layers: list[Layer]
    map_path: Callable[[str], Path | None]
    unread: dict[str, str] = field(default_factory=dict)

    def tile(self, image_id: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return an image's tile: what is `known` of it, pictures, and outlines by layer."""
        shape = self.catalog.height, self.catalog.width
        tile: dict[str, Any] = {"id": image_id, **known, "image": None, "prob": None}
        try:
            image_hwc = read_image(self.catalog.train_path(image_id), *shape)
            tile["image"] = _embed(image_hwc[..., ::-1], IMAGE_PX, IMAGE_QUALITY)
        except DataError as error:
            self.unread[image_id] = str(error)
        path = self.map_path(image_id)
        prob_hw = None
        if path is not None and path.is_file():
            prob_hw = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if prob_hw is not None:
            # A map of contact may lie below the map of objects.
            coloured = cv2.applyColorMap(prob_hw[: shape[0]], cv2.COLORMAP_CIVIDIS)
            tile["prob"] = _embed(coloured, MAP_PX, MAP_QUALITY)
        tile["outlines"] = {
            layer.key: self._outlines(layer.objects.get(image_id, ())) for layer in self.layers
        }
        return tile

    def _outlines(self, texts: Sequence[str]) -> list[str]:
        """Return a path per object in the image's pixels, no finer than the picture shows."""
        shape = self.catalog.height, self.catalog.width
        tolerance_px = 0.8 * max(1.0, max(shape) / IMAGE_PX)
        return [
            "".join(_path(ring, tolerance_px) for polygon in parts for ring in polygon)
            for parts in polygons(decode_labels(texts, *shape))
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
