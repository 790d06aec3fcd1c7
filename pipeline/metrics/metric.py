"""What a metric is: numbers of each predicted object that add up, and a score from their sums.

Every metric here is a ratio of two sums over layers, a layer being one class of one image: a mean
has the layer's score and 1, a global coefficient the pixels of both. So the score of any set of
images, by any rules that keep some of the predicted objects, needs no mask.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


class Metric(ABC):
    """How predicted objects or masks are scored.

    Attributes:
        key: Its name in files: `f2`, `f2_standard_error`.
        label: Its name in sentences.
        of_objects: Whether it matches objects; else it looks at the union of an image's.
        pools_classes: Whether objects of all classes of an image count together.
        is_mean: Whether it is a mean over layers: the denominator of each is 1.
        object_key: What stands for an object in the names of figures: `object_images`.
    """

    key: ClassVar[str]
    label: ClassVar[str]
    of_objects: ClassVar[bool]
    pools_classes: ClassVar[bool] = False
    is_mean: ClassVar[bool] = True
    object_key: ClassVar[str] = "object"

    @abstractmethod
    def parts(self, hits: Integers, area_px: Integers, shared_px: Integers) -> Integers:
        """Return what each predicted object adds to its layer, (objects, k).

        Args:
            hits: At how many of the ten IoU thresholds it finds a true object, 0..10, (objects,).
            area_px: Its area, (objects,).
            shared_px: Its pixels that are of any true object, (objects,).
        """

    @abstractmethod
    def terms(self, sums: Integers, n_true: Integers, true_px: Integers) -> Floats:
        """Return numerator and denominator of layers' scores, (2, layers).

        The score of a set of layers is `score` of their terms.

        Args:
            sums: Of `parts` over each layer's predicted objects, (layers, k).
            n_true: True objects of each layer, (layers,).
            true_px: Their pixels, (layers,).
        """

    def all_empty(self, n_true: Integers, true_px: Integers) -> Floats:
        """Return the terms of layers in which nothing is predicted, (2, layers)."""
        return self.terms(self.nothing(len(n_true)), n_true, true_px)

    def nothing(self, layers: int) -> Integers:
        """Return the sums of parts where nothing is predicted: 0, (layers, k)."""
        no_objects = np.zeros(0, np.int64)
        parts = self.parts(no_objects, no_objects, no_objects).shape[1]
        return np.zeros((layers, parts), np.int64)


class MaskMetric(Metric):
    """A metric of the union of a layer's objects; its parts are their pixels and the true ones."""

    of_objects = False

    def parts(self, hits: Integers, area_px: Integers, shared_px: Integers) -> Integers:
        """See `Metric`; k is 2."""
        return np.stack([area_px, shared_px], axis=1)


def add_up(values: Integers, owners: Integers, count: int) -> Integers:
    """Sum the rows of `values`, (n, k), by their owners 0..count-1, (n,); returns (count, k)."""
    columns = [np.bincount(owners, column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1).astype(np.int64)


def mean_of(scores: Floats) -> Floats:
    """Return the terms of layers' scores whose mean is the metric, (2, layers)."""
    return np.stack([scores, np.ones_like(scores)])


def ratios(terms: Floats) -> Floats:
    """Return the score of each layer by itself, (layers,); 1 where nothing is true or predicted."""
    numerator, denominator = terms
    return np.where(denominator == 0, 1.0, numerator / np.maximum(denominator, 1))


def score(terms: Floats) -> float | None:
    """Return the score of a set of layers; None of no layer."""
    if not terms.shape[1]:
        return None
    return float(ratios(np.stack([each.sum() for each in terms])))
