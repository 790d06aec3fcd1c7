"""An object in an image, as whoever predicts gets it: mask, outline, rectangle, confidence.

A label map enters, of an image or of a part of one; `FoundObject`s leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.maps import MAX_LEVEL, ImageMaps
from pipeline.masks.outlines import Polygon, Ring, polygons
from pipeline.masks.rle import Labels, Within, encode_labels, encode_runs, parse_rows
from pipeline.masks.rle_forms import unite
from pipeline.selection.confidence import Confidence, object_levels


class Rectangle(NamedTuple):
    """The smallest rectangle around an object, turned as it may be.

    Attributes:
        centre_xy: Its centre, px.
        length_px: Of the longer side.
        width_px: Of the shorter side.
        angle_deg: From the x axis to the longer side, clockwise as one sees it, in [0, 180).
    """

    centre_xy: tuple[float, float]
    length_px: float
    width_px: float
    angle_deg: float


@dataclass(frozen=True)
class FoundObject:
    """An object in an image. Coordinates: x to the right, y down from the first pixel's corner.

    Attributes:
        class_id: Its class.
        rle: Its pixels as one-based `start length` pairs, column by column. `decode_mask` of
            `pipeline.masks.rle` makes a mask of it.
        box_xyxy: Left, top, right and bottom edge of its pixels.
        polygons: Its parts along the edges of its pixels, each an outer ring and its holes, int64
            (k, 2) of [x, y]; see `pipeline.masks.outlines.polygons`.
        mean_probability: Of its pixels, 0..1. How sure the networks are; not calibrated.
        max_probability: The highest of its pixels, likewise.
        confidence: How likely its IoU with a true object is above 0.5, 0..1, calibrated on objects
            that the networks did not learn from; None where the run does not know.
        area_px: How many pixels it has.
        rectangle: The smallest around it.
    """

    class_id: str
    rle: str
    box_xyxy: tuple[int, int, int, int]
    polygons: list[Polygon]
    mean_probability: float
    max_probability: float
    confidence: float | None
    area_px: int
    rectangle: Rectangle


def describe(
    class_id: str,
    labels_hw: Labels,
    maps: ImageMaps,
    confidence: Confidence | None = None,
    within: Within | None = None,
) -> list[FoundObject]:
    """Return the objects of a class.

    Args:
        class_id: The class.
        labels_hw: int32 (h, w), 0 for background, 1..n for objects.
        maps: The class's maps.
        confidence: The class's.
        within: If these are a part of an image: as `pipeline.masks.rle.label_runs` has it.
    """
    corner_xy = np.array([0, 0] if within is None else [within[1][0], within[0][0]])
    levels = object_levels(labels_hw, maps.prob_hw)
    chances = [None] * len(levels) if confidence is None else confidence.of(levels).tolist()
    probabilities = (levels / MAX_LEVEL).tolist()
    area_px = np.bincount(labels_hw.ravel())[1:].tolist()
    outlines = [
        [[ring + corner_xy for ring in rings] for rings in parts] for parts in polygons(labels_hw)
    ]
    found = zip(
        *(encode_labels(labels_hw, within), outlines, area_px, probabilities, chances), strict=True
    )
    return [
        FoundObject(
            class_id=class_id,
            rle=rle,
            box_xyxy=_box(parts),
            polygons=parts,
            mean_probability=mean,
            max_probability=highest,
            confidence=chance,
            area_px=area,
            rectangle=smallest_rectangle(_outer_corners(parts)),
        )
        for rle, parts, area, (mean, highest), chance in found
    ]


def unite_objects(
    objects: Sequence[FoundObject], confidence: Confidence | None, shape: tuple[int, int]
) -> FoundObject:
    """Return objects of one class, which do not touch, as one mask of an image.

    Args:
        objects: At least one.
        confidence: The class's.
        shape: Height and width of the image, px.
    """
    if len(objects) == 1:
        return objects[0]
    runs, owners = parse_rows([one.rle for one in objects], *shape)
    parts = [rings for one in objects for rings in one.polygons]
    areas_px = [one.area_px for one in objects]
    mean = np.average([one.mean_probability for one in objects], weights=areas_px)
    highest = max(one.max_probability for one in objects)
    levels = np.array([[mean, highest]]) * MAX_LEVEL
    return replace(
        objects[0],
        rle=encode_runs(unite(runs, np.zeros_like(owners), shape[0] * shape[1])[0]),
        box_xyxy=_box(parts),
        polygons=parts,
        mean_probability=float(mean),
        max_probability=highest,
        confidence=None if confidence is None else float(confidence.of(levels)[0]),
        area_px=sum(areas_px),
        rectangle=smallest_rectangle(_outer_corners(parts)),
    )


def _box(parts: Sequence[Polygon]) -> tuple[int, int, int, int]:
    corners_xy = _outer_corners(parts)
    (left, top), (right, bottom) = corners_xy.min(0).tolist(), corners_xy.max(0).tolist()
    return left, top, right, bottom


def _outer_corners(parts: Sequence[Polygon]) -> Ring:
    return np.concatenate([rings[0] for rings in parts])


def smallest_rectangle(corners_xy: npt.NDArray[Any]) -> Rectangle:
    """Return the smallest rectangle around points, (k, 2) of x and y, y down."""
    # In single precision, which is finer near 0.
    origin_xy = corners_xy.min(0)
    (x, y), (one, other), angle = cv2.minAreaRect((corners_xy - origin_xy).astype(np.float32))
    if other > one:
        one, other, angle = other, one, angle + 90
    centre_xy = (x + float(origin_xy[0]), y + float(origin_xy[1]))
    return Rectangle(centre_xy, one, other, angle % 180)
