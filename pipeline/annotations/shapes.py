"""The shapes that people draw as pixels, and the shapes of one group as one object."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.annotation import RefusalError, Rejected, listed
from pipeline.annotations.polygons import Points, as_text, united
from pipeline.masks.rle import Runs

OFF_PX = 0.01  # what a polygon may be off the ellipse that it stands for


@dataclass(frozen=True)
class Shape:
    """A shape of a file.

    Attributes:
        item: Which one it is, for messages.
        name: Of its class.
        group: What the shapes of an object share; None: it is one by itself.
        draw: Returns its runs, of an image of some height and width, px.
    """

    item: str
    name: object
    group: Hashable
    draw: Callable[[int, int], Runs]


def objects_of(
    shapes: Iterable[Shape], height: int, width: int, where: str, rejected: list[Rejected]
) -> list[tuple[str, str]]:
    """Return class and RLE of each object; one of which a part cannot be taken is listed whole."""
    parts: dict[Hashable, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        key = number if shape.group is None else (repr(shape.name), shape.group)
        parts.setdefault(key, []).append(shape)
    objects = []
    for some in parts.values():
        with listed(rejected, where, ", ".join(shape.item for shape in some)):
            name = some[0].name
            if not isinstance(name, str) or not name:
                raise RefusalError(f"expected the name of a class, got {name!r:.40}", "Give one.")
            masks = [shape.draw(height, width) for shape in some]
            objects.append((name, as_text(united(masks, height * width))))
    return objects


def without_area(kind: object) -> RefusalError:
    """Return what to raise for a shape that is no mask."""
    return RefusalError(
        f"{kind!r:.40}, which has no area", "Draw its outline as a polygon, or leave it out."
    )


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the ring of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    """Return the ring of an ellipse."""
    radius = max(abs(radius_x), abs(radius_y))
    corners = max(8, min(10_000, math.ceil(math.pi * math.sqrt(radius / 2 / OFF_PX))))
    angle = 2 * math.pi * np.arange(corners) / corners
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1)


def turned(ring: Points, degrees: float) -> Points:
    """Turn a ring clockwise, as one sees it, about the middle of its corners."""
    angle, middle = math.radians(degrees), ring.mean(axis=0)
    cosine, sine = math.cos(angle), math.sin(angle)
    moved: Points = (ring - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle
    return moved
