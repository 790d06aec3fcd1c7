"""The objects of an image, cell by cell: each cell is an image of its own to the rules.

What rules decide of a whole image, its filters and how much to expect of it, they learned from
images of one size. So a component of the maps, whole, belongs to the cell of that size that holds
its box's centre, and a cell's components are what the rules see: nothing depends on the extent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.config.schema import Config
from pipeline.inference.predict import as_layers
from pipeline.inference.regions import Box
from pipeline.maps import ImageMaps
from pipeline.masks.rle import Labels
from pipeline.selection.rules import AnyRules, find_objects
from pipeline.windows.components import Components, Joined
from pipeline.windows.grid import blocks
from pipeline.windows.store import Windows

RIM_PX = 1


class Found(NamedTuple):
    """The objects of a class in a cell.

    Attributes:
        class_id: The class.
        labels_hw: int32 (h, w): 0 for background, 1..n for objects, or 1 for a mask.
        maps: What the rules saw, (h, w).
        box: Where in the image that is.
    """

    class_id: str
    labels_hw: Labels
    maps: ImageMaps
    box: Box


def find_in_cells(
    windows: Windows, rules: Mapping[str, AnyRules], config: Config
) -> Iterator[Found]:
    """Find the objects of an image, cells row by row, in each class by class.

    Args:
        windows: All of its.
        rules: Of each class.
        config: For the maps of the classes.

    Raises:
        ArtifactError: The rules cut by the touching-border channel, and there is none.
        DataError: More than 65,534 components in a cell.
    """
    each = find_components(windows, [own.lowest for own in rules.values()], config)
    cells = [windows.grid.cells_of(components.boxes) for components in each]
    orders = [np.argsort(cell, kind="stable") for cell in cells]
    cells = [cell[order] for cell, order in zip(cells, orders, strict=True)]
    for cell in np.unique(np.concatenate(cells)).tolist():
        ranges = [np.searchsorted(own, [cell, cell + 1]) for own in cells]
        inside = [order[slice(*at)] for order, at in zip(orders, ranges, strict=True)]
        boxes = np.concatenate(
            [own.boxes[chosen] for own, chosen in zip(each, inside, strict=True)]
        )
        around = Box(*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
        box = _with_rim(windows.grid.cell(cell).around(around)).shared(windows.grid.whole)
        layers = as_layers(windows.levels(box), windows.image_prob(around), config)
        for (class_id, own), maps, components, chosen in zip(
            rules.items(), layers, each, inside, strict=True
        ):
            first_yx = components.first_yx[chosen] - np.array(box[:2])
            alone = _alone(maps, own.lowest, first_yx)
            labels_hw = find_objects(alone, own)
            if labels_hw is not None:
                labels_hw = labels_hw if config.task.objects else np.minimum(labels_hw, 1)
                yield Found(class_id, labels_hw, alone, box)


def find_components(windows: Windows, lowest: list[int], config: Config) -> list[Components]:
    """Find what is connected in each class's map, of the pixels that reach its lowest level."""
    joined = [Joined(windows.grid.width) for _ in lowest]
    for block in blocks(windows.grid.whole, windows.block_px):
        layers = as_layers(windows.levels(block), None, config)
        for own, maps, least in zip(joined, layers, lowest, strict=True):
            own.add(block, maps.prob_hw >= least)
    return [own.components() for own in joined]


def _with_rim(box: Box) -> Box:
    """Return a box that has what is beside it, so that nothing seems to lie at an image's edge."""
    return Box(box.top - RIM_PX, box.left - RIM_PX, box.bottom + RIM_PX, box.right + RIM_PX)


def _alone(maps: ImageMaps, lowest: int, first_yx: np.ndarray) -> ImageMaps:
    """Return maps without the components whose first pixels are not among these."""
    object_hw = (maps.prob_hw >= lowest).view(np.uint8)
    count, labels_hw = cv2.connectedComponents(object_hw, connectivity=8, ltype=cv2.CV_32S)
    others = np.ones(count, np.bool_)
    others[[0, *labels_hw[*first_yx.T]]] = False
    return replace(maps, prob_hw=np.where(others[labels_hw], 0, maps.prob_hw).astype(np.uint8))
