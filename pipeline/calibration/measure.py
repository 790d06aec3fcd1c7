"""What every rule needs to know about a map, measured once.

A map and its true objects enter; for every separation the area of each component, its hits (at how
many IoU thresholds it finds an object) and its true pixels leave. None of these depends on what
else is kept, so minimum areas, image filters and choices among segments are sums over this table
and no map is looked at again.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import about
from pipeline.masks.rle import parse_rows
from pipeline.metrics.iou import hits_from_areas
from pipeline.separation.foreground import Foreground, Packed, unpack
from pipeline.separation.segments import FEATURES, Features, find_segments
from pipeline.separation.separate import Components, Separation, find_merged


@dataclass(frozen=True)
class Task:
    """One image to measure: index, ImageId, its maps where they matter, its true objects' texts."""

    image: int
    image_id: str
    packed: Packed
    truth: list[str]


@dataclass(frozen=True)
class Found:
    """All components of some images, cut in one way.

    Attributes:
        image: Index of the image, int32 (n,).
        area_px: int32 (n,).
        hits: IoU thresholds at which the component finds a true object, 0..10, int8 (n,).
        shared_px: Its pixels that are of any true object, int32 (n,).
    """

    image: npt.NDArray[np.int32]
    area_px: npt.NDArray[np.int32]
    hits: npt.NDArray[np.int8]
    shared_px: npt.NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Iterable["Found"]) -> "Found":
        """Put the components of several groups of images one after the other."""
        empty = np.zeros(0, np.int32)
        parts = [cls(empty, empty, empty.astype(np.int8), empty), *parts]
        return cls(
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.area_px for part in parts]),
            np.concatenate([part.hits for part in parts]),
            np.concatenate([part.shared_px for part in parts]),
        )


@dataclass(frozen=True)
class SegmentTable:
    """All segments of some images, in the images' order.

    Attributes:
        image: Index of the image, ascending, int32 (n,).
        features: As in `pipeline.separation.segments.Segments`, (n, f).
        parent: The same: counted within the image, int32 (n,).
        hits: As in `Found`, int8 (n,).
    """

    image: npt.NDArray[np.int32]
    features: Features
    parent: npt.NDArray[np.int32]
    hits: npt.NDArray[np.int8]

    @classmethod
    def joined(cls, parts: Iterable["SegmentTable"]) -> "SegmentTable":
        """Put the segments of several groups of images one after the other."""
        empty = np.zeros(0, np.int32)
        nothing = cls(empty, np.zeros((0, len(FEATURES)), np.float32), empty, empty.astype(np.int8))
        parts = [nothing, *parts]
        return cls(
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.parent for part in parts]),
            np.concatenate([part.hits for part in parts]),
        )

    def of(self, images: npt.NDArray[np.integer]) -> "SegmentTable":
        """Return the segments of some of the images."""
        rows = np.isin(self.image, images)
        parts = self.image[rows], self.features[rows], self.parent[rows], self.hits[rows]
        return SegmentTable(*parts)

    @cached_property
    def rows_of(self) -> dict[int, slice]:
        """The rows of each image that has segments."""
        images, first = np.unique(self.image, return_index=True)
        ends = [*first[1:].tolist(), len(self.image)]
        return {
            image: slice(start, end)
            for image, start, end in zip(images.tolist(), first.tolist(), ends, strict=True)
        }


class _Truth:
    """The true objects of one image, drawn where its map matters."""

    def __init__(self, texts: list[str], foreground: Foreground) -> None:
        runs, owners = parse_rows(texts, *foreground.shape)
        self._area_px = np.bincount(owners, runs[:, 1], len(texts)).astype(np.int64)
        # Only where the map matters: a whole frame takes three times the time.
        ends = np.cumsum(runs[:, 1])
        pixels = np.arange(runs[:, 1].sum()) + np.repeat(runs[:, 0] + runs[:, 1] - ends, runs[:, 1])
        column, row = np.divmod(pixels, foreground.shape[0])
        row, column = _places(foreground.rows, row), _places(foreground.columns, column)
        inside = (row >= 0) & (column >= 0)
        labels_hw = np.zeros(foreground.maps.prob_hw.shape, np.int32)
        labels_hw[row[inside], column[inside]] = np.repeat(owners + 1, runs[:, 1])[inside]
        self._labels_hw = labels_hw

    def compare(self, components: Components) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
        """Return `hits` and `shared_px` of each component as in `Found`, (n,)."""
        area_px, objects = components.area_px, len(self._area_px)
        if not len(area_px) or not objects:
            return np.zeros(len(area_px), np.int8), np.zeros(len(area_px), np.int32)
        pairs = components.labels * (objects + 1) + self._labels_hw.ravel()[components.pixels]
        size = (len(area_px) + 1) * (objects + 1)
        shared = np.bincount(pairs, minlength=size).reshape(len(area_px) + 1, -1)[1:, 1:]
        union = area_px[:, None] + self._area_px - shared
        # Above an IoU of 0.5 there is one partner at most, so the largest is the sum.
        hits = hits_from_areas(shared, union).max(axis=1)
        return hits.astype(np.int8), shared.sum(axis=1).astype(np.int32)


def _places(kept: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where in `kept`, which ascends, each wanted number is; -1 where it is not there."""
    place = np.full(max(kept.max(initial=0), wanted.max(initial=0)) + 1, -1)
    place[kept] = np.arange(len(kept))
    return place[wanted]


def measure_components(
    tasks: list[Task], separations: Sequence[Separation]
) -> dict[Separation, Found]:
    """Measure some maps, cut in each of the ways."""
    found: dict[Separation, list[Found]] = {how: [] for how in separations}
    # The ways that differ in nothing but what they merge share the watershed.
    families: dict[Separation, list[Separation]] = {}
    for how in sorted(separations, key=attrgetter("merge_below_px")):
        families.setdefault(replace(how, merge_below_px=0), []).append(how)
    with _one_thread():
        for task in tasks:
            foreground = unpack(task.packed)
            truth = _Truth(task.truth, foreground)
            for unmerged, ways in families.items():
                with about(task.image_id):
                    merges_px = [how.merge_below_px for how in ways]
                    cuts = find_merged(foreground.maps, unmerged, merges_px)
                for how, components in zip(ways, cuts, strict=True):
                    image = np.full(len(components.area_px), task.image, np.int32)
                    area_px = components.area_px.astype(np.int32)
                    found[how].append(Found(image, area_px, *truth.compare(components)))
    return {how: Found.joined(each) for how, each in found.items()}


def measure_segments(tasks: list[Task], cuts: Sequence[Separation]) -> SegmentTable:
    """Measure the segments of some maps."""
    tables = []
    with _one_thread():
        for task in tasks:
            foreground = unpack(task.packed)
            truth = _Truth(task.truth, foreground)
            with about(task.image_id):
                segments = find_segments(foreground, cuts)
            hits = [truth.compare(components)[0] for components in segments.cuts]
            tables.append(
                SegmentTable(
                    np.full(len(segments.parent), task.image, np.int32),
                    segments.features,
                    segments.parent.astype(np.int32),
                    np.concatenate([np.zeros(0, np.int8), *hits]),
                )
            )
    return SegmentTable.joined(tables)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV on one thread: the processes that measure share the cores already."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
