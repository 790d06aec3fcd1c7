"""How large images are: all alike, or each of a size of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
"""Height and width, px."""


@dataclass(frozen=True)
class Sizes:
    """The size of each image, or mask, of a set.

    Attributes:
        common: Of all of them; None where they differ.
        own: Of each by its `ImageId`, where they differ. An image that cannot be read is not there:
            its size is not known, and taken for the largest.
    """

    common: Size | None
    own: Mapping[str, Size] = field(default_factory=dict)

    @classmethod
    def of_each(cls, own: Mapping[str, Size], otherwise: Size) -> "Sizes":
        """Return the sizes of images that are alike or not; of none at all, `otherwise`."""
        first, *others = {*own.values()} or {otherwise}
        return cls(None, own) if others else cls(first)

    def __getitem__(self, image_id: str) -> Size:
        return self.common or self.own.get(image_id, self.largest)

    @cached_property
    def largest(self) -> Size:
        """The largest height and the largest width."""
        height, width = zip(*([self.common] if self.common else self.own.values()), strict=True)
        return max(height), max(width)

    @property
    def distinct(self) -> set[Size]:
        """Every size that there is."""
        return {self.common} if self.common else {*self.own.values()}

    def of(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the sizes of images, int64 (n, 2)."""
        sizes = [self.common] if self.common else [self[image_id] for image_id in image_ids]
        return np.broadcast_to(np.array(sizes, np.int64).reshape(-1, 2), (len(image_ids), 2))
