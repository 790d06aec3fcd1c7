"""What a metric is: numbers of each predicted object that add up, and a score from their sums.

Every metric here is a ratio of two sums over images (or over an image's classes): a mean has the
image's score and 1, a global coefficient the pixels of both. So the score of any set of images, by
any rules that keep some of the predicted objects, needs no mask.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Metric(ABC):
    """How predicted objects or masks are scored.

    Attributes:
        key: Its name in files: `f2`, `f2_standard_error`.
        label: Its name in sentences.
        of_objects: Whether it matches objects; else it looks at the union of an image's.
        pools_classes: Whether objects of all classes of an image count together.
    """

    key: ClassVar[str]
    label: ClassVar[str]
    of_objects: ClassVar[bool]
    pools_classes: ClassVar[bool] = False

    @abstractmethod
    def parts(self, hits: Integers, area_px: Integers, shared_px: Integers) -> Integers:
        """Return what each predicted object adds to its image, (objects, k).

        Args:
            hits: At how many of the ten IoU thresholds it finds a true object, 0..10, (objects,).
            area_px: Its area, (objects,).
            shared_px: Its pixels that are of any true object, (objects,).
        """

    @abstractmethod
    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """Return numerator and denominator of images' scores, (2, images).

        The score of a set of images is the sum of the first over the sum of the second.

        Args:
            sums: Of `parts` over each image's predicted objects, (images, k).
            n_true: True objects of each image, (images,).
            true_px: Their pixels, (images,).
        """
