"""The maps of an image become objects: threshold, split what touches, keep what is large enough.

8-bit maps and a `Separation` enter; a label map leaves, whose objects never overlap. Two steps:
`find_components` lists the pixels of each component, by any method; `draw_labels` keeps components
by a rule and numbers them 1..n. Whoever counts or compares components needs no frame in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtifactError, DataError
from pipeline.maps import ImageMaps, ProbabilityMap
from pipeline.masks.rle import Labels
from pipeline.separation.watershed import split_blobs

Connectivity = Literal[4, 8]
Method = Literal["components", "contact", "distance"]

MAX_COMPONENTS = 65_534  # what 16 bits hold beside the background; more is noise

SEEDS = {"components": range(1), "contact": range(1, 256), "distance": range(1, 101)}


@dataclass(frozen=True)
class Separation:
    """How maps are cut into components; every number may be searched by calibration.

    Attributes:
        method: `components`: what is connected is one. `contact`: a watershed on object minus
            contact splits what is connected. `distance`: a watershed on the distance to the
            background does, for networks without a touching-border channel.
        threshold: Least value of an object's pixel, 1..255.
        connectivity: 8 joins pixels that meet at a corner, 4 does not.
        seed: `contact`: least value of object minus contact where an object starts, 1..255.
            `distance`: parts are one object where the waist between them is at least this
            percentage of the narrower part's width, 1..100. `components`: 0.
        merge_below_px: A smaller part of a split component joins the part it borders on most;
            0: none does, and small parts fall to the minimum area like any small component.
    """

    method: Method
    threshold: int
    connectivity: Connectivity
    seed: int = 0
    merge_below_px: int = 0

    def __post_init__(self) -> None:
        if self.method not in SEEDS:
            raise ValueError(f"method: expected one of {', '.join(SEEDS)}, got {self.method!r}")
        ranges = {
            "threshold": range(1, 256),
            "connectivity": (4, 8),
            "seed": SEEDS[self.method],
            "merge_below_px": range(1 if self.method == "components" else 2**31),
        }
        for name, allowed in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                raise ValueError(
                    f"{name}: expected a whole number in {allowed} for method {self.method}, "
                    f"got {value!r}"
                )


@dataclass(frozen=True)
class Components:
    """The components of one map, as the list of their pixels.

    Attributes:
        pixels: Place of each pixel in the row-major image, int64 (p,), ascending.
        labels: Its component, 1..n, int64 (p,).
        area_px: Area of components 1..n, int64 (n,).
        shape: Height and width of the image.
    """

    pixels: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    area_px: npt.NDArray[np.int64]
    shape: tuple[int, int]


def find_components(maps: ImageMaps, how: Separation) -> Components:
    """Find the components of the pixels of an image that reach the threshold.

    Args:
        maps: Of one image.
        how: The method and its numbers.

    Raises:
        ArtifactError: `how` needs a touching-border channel and there is none.
        DataError: More than 65,534 components.
        ValueError: A map is not uint8 (h, w), or the two differ in size.
    """
    return find_merged(maps, how, [how.merge_below_px])[0]


def find_merged(
    maps: ImageMaps, how: Separation, merge_below_px: Sequence[int]
) -> list[Components]:
    """Do as `find_components` for several values of `how.merge_below_px`, ascending."""
    prob_hw, contact_hw = _checked(maps, how)
    shape = (prob_hw.shape[0], prob_hw.shape[1])
    if not prob_hw.size or int(prob_hw.max()) < how.threshold:
        nothing = np.zeros(0, np.int64)
        return [Components(nothing, nothing, nothing, shape)] * len(merge_below_px)
    rows = np.flatnonzero(prob_hw.max(axis=1) >= how.threshold)
    top = int(rows[0])
    part = slice(top, int(rows[-1]) + 1)
    _, ship_hw = cv2.threshold(prob_hw[part], how.threshold - 1, 1, cv2.THRESH_BINARY)
    # Objects are few pixels. Listing them is cheaper than OpenCV's statistics, which take 2 to 10
    # ms at 768x768 px.
    pixels = np.flatnonzero(ship_hw.view(np.bool_))
    ways = [_label(ship_hw, how.connectivity).ravel()[pixels].astype(np.int64)]
    if how.method != "components":
        part_contact_hw = None if contact_hw is None else contact_hw[part]
        ways = split_blobs(
            prob_hw[part],
            part_contact_hw,
            pixels,
            ways[0],
            seed=how.seed,
            merge_below_px=merge_below_px,
        )
        for labels in ways:
            _check_count(int(labels.max()))
    pixels += top * shape[1]
    return [Components(pixels, labels, np.bincount(labels)[1:], shape) for labels in ways]


def _checked(maps: ImageMaps, how: Separation) -> tuple[ProbabilityMap, ProbabilityMap | None]:
    """Return the maps that `how` needs."""
    prob_hw, contact_hw = maps.prob_hw, maps.contact_hw if how.method == "contact" else None
    if how.method == "contact" and contact_hw is None:
        raise ArtifactError(
            "the rules cut objects by the touching-border channel, and the maps have none: they "
            "are of a run with targets.kind=object. Calibrate on maps of the same run, or choose "
            "another method."
        )
    for name, map_hw in (("prob_hw", prob_hw), ("contact_hw", contact_hw)):
        if map_hw is not None and (map_hw.dtype != np.uint8 or map_hw.ndim != 2):
            raise ValueError(f"{name}: expected uint8 (h, w), got {map_hw.dtype} {map_hw.shape}")
    if contact_hw is not None and contact_hw.shape != prob_hw.shape:
        raise ValueError(f"contact_hw: expected {prob_hw.shape}, got {contact_hw.shape}")
    return prob_hw, contact_hw


def _label(
    ship_hw: npt.NDArray[np.uint8], connectivity: Connectivity
) -> npt.NDArray[np.uint16] | npt.NDArray[np.int32]:
    # 16-bit labels: a third of the time of 32 bits.
    labels_hw: npt.NDArray[np.uint16]
    try:
        _, labels_hw = cv2.connectedComponents(ship_hw, connectivity=connectivity, ltype=cv2.CV_16U)
    except cv2.error:
        # OpenCV also counts labels that it merges later, so the number is made sure of.
        count, labels_hw = cv2.connectedComponents(
            ship_hw, connectivity=connectivity, ltype=cv2.CV_32S
        )
        _check_count(count - 1)
    return labels_hw


def _check_count(count: int) -> None:
    if count > MAX_COMPONENTS:
        raise DataError(
            f"a map has {count:,} connected components; expected at most {MAX_COMPONENTS:,}. Such "
            "a map is noise: look at the network's training, or raise the threshold."
        ) from None


def draw_labels(components: Components, keep: npt.NDArray[np.bool_]) -> Labels:
    """Draw the components chosen by `keep`, bool (n,), as a label map of the whole image.

    Returns:
        int32 (h, w), 0 for background, 1..n in the components' order.
    """
    labels_hw = np.zeros(components.shape, np.int32)
    numbers = np.append(0, np.where(keep, np.cumsum(keep), 0)).astype(np.int32)
    labels_hw.ravel()[components.pixels] = numbers[components.labels]
    return labels_hw
