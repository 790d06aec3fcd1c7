"""The foreground of a map: the rows and columns with a pixel that any rule may call object.

Stretches of other rows or columns are cut to the two next to a kept one, which keeps apart what is
apart. Areas and neighbours stay as they are, and a typical map becomes a tenth of its size, packed
a few kB: the maps of a whole competition can be kept, and sent to other processes.
"""

import pickle
import zlib
from dataclasses import dataclass
from typing import NewType

import numpy as np
import numpy.typing as npt

from pipeline.maps import ImageMaps, ProbabilityMap
from pipeline.masks.rle import Labels, Within

Packed = NewType("Packed", bytes)


@dataclass(frozen=True)
class Foreground:
    """What is left of the maps of an image.

    Attributes:
        maps: Of the kept rows and columns.
        rows: Their places in the image, int64, ascending.
        columns: The same.
        shape: Height and width of the image.
    """

    maps: ImageMaps
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def within(self) -> Within:
        """Where the kept rows and columns lie, as `pipeline.masks.rle.encode_labels` takes it."""
        return self.rows, self.columns, self.shape[0]

    def whole(self, labels_hw: Labels) -> Labels:
        """Return a label map of the image from one of the kept rows and columns."""
        whole_hw = np.zeros(self.shape, np.int32)
        whole_hw[np.ix_(self.rows, self.columns)] = labels_hw
        return whole_hw


def pack(maps: ImageMaps | None, lowest: int) -> Packed | None:
    """Return the foreground as bytes of this process and its children; None where there is none."""
    foreground = None if maps is None else foreground_of(maps, lowest)
    return None if foreground is None else Packed(zlib.compress(pickle.dumps(foreground), 1))


def unpack(packed: Packed) -> Foreground:
    """Return what `pack` packed."""
    foreground: Foreground = pickle.loads(zlib.decompress(packed))
    return foreground


def foreground_of(maps: ImageMaps, lowest: int) -> Foreground | None:
    """Keep what reaches `lowest`, 1..255, and its neighbours; None where nothing does."""
    prob_hw = maps.prob_hw
    if int(prob_hw.max(initial=0)) < lowest:
        return None
    rows = _kept(prob_hw.max(axis=1) >= lowest)
    columns = _kept(prob_hw.max(axis=0) >= lowest)

    def part(map_hw: ProbabilityMap) -> ProbabilityMap:
        return map_hw[rows].take(columns, axis=1)

    kept = ImageMaps(
        part(prob_hw),
        None if maps.contact_hw is None else part(maps.contact_hw),
        maps.image_prob,
    )
    return Foreground(kept, rows, columns, (prob_hw.shape[0], prob_hw.shape[1]))


def _kept(used: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the places of the used lines and of the unused ones next to them."""
    kept = used.copy()
    kept[1:] |= used[:-1]
    kept[:-1] |= used[1:]
    return np.flatnonzero(kept)
