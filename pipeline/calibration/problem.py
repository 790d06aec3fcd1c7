"""The out-of-fold maps and the truth of all images, gone through as often as a rule needs them.

`(ImageId, fold, maps)` and the true ships enter; what is measured of them leaves, or the ships that
rules find. The maps of a whole competition never lie in memory at once.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd

from pipeline.calibration.measure import (
    Found,
    SegmentTable,
    Task,
    measure_components,
    measure_segments,
)
from pipeline.calibration.search import Measured
from pipeline.errors import ArtifactError, DataError
from pipeline.selection.rules import AnyRules, Rules
from pipeline.selection.submission import Maps, find_instances
from pipeline.selection.workers import in_order
from pipeline.separation.foreground import foreground_of
from pipeline.separation.separate import Separation

__all__ = ["Problem"]


class Problem:
    """The maps and the truth of all images, as often as somebody needs them."""

    def __init__(
        self, maps: Maps, truth: pd.DataFrame, shape: tuple[int, int], lowest: int, jobs: int
    ) -> None:
        ships = truth[truth["EncodedPixels"] != ""]
        self._texts = ships.groupby("ImageId")["EncodedPixels"].apply(list).to_dict()
        self._maps, self._truth, self._shape = maps, truth, shape
        self._lowest, self._jobs = lowest, jobs

    def measure(self, separations: list[Separation]) -> Measured:
        """Measure all maps, and check that they are the truth's."""
        image_ids: list[str] = []
        folds: list[int] = []
        max_prob: list[int] = []

        def watched() -> Maps:
            for image_id, fold, of_image in self._maps:
                image_ids.append(image_id)
                folds.append(fold)
                max_prob.append(0 if of_image is None else int(of_image.prob_hw.max(initial=0)))
                yield image_id, fold, of_image

        measure = partial(measure_components, separations=separations)
        results = list(in_order(measure, self._tasks(watched()), self._jobs))
        found = {one: Found.joined(result[one] for result in results) for one in separations}
        _check_images(image_ids, set(self._truth["ImageId"]))
        n_true = np.array([len(self._texts.get(image_id, [])) for image_id in image_ids])
        return Measured(image_ids, np.array(folds), n_true, np.array(max_prob), found)

    def segments(self, cuts: tuple[Separation, ...]) -> SegmentTable:
        """Measure the segments of all maps."""
        measure = partial(measure_segments, cuts=cuts)
        return SegmentTable.joined(in_order(measure, self._tasks(self._maps), self._jobs))

    def ships(self, fold_rules: Mapping[int, Rules] | Mapping[int, AnyRules]) -> pd.DataFrame:
        """Return the instances that each fold's rules find in its maps."""
        return find_instances(self._maps, fold_rules, jobs=self._jobs)

    def _tasks(self, maps: Maps) -> Iterator[Task]:
        for image, (image_id, _, of_image) in enumerate(maps):
            if of_image is None:
                continue
            if of_image.prob_hw.shape != self._shape:
                raise ArtifactError(
                    f"the map of {image_id}: expected {self._shape[0]}x{self._shape[1]} px, the "
                    f"size of the images, got {of_image.prob_hw.shape}. Predict again."
                )
            foreground = foreground_of(of_image, self._lowest)
            if foreground is not None:
                yield Task(image, foreground, self._texts.get(image_id, []))


def _check_images(image_ids: list[str], true_ids: set[str]) -> None:
    for problem, wrong in (
        ("images have no map", true_ids - set(image_ids)),
        ("maps are of images that the truth does not list", set(image_ids) - true_ids),
    ):
        if wrong:
            first = ", ".join(sorted(wrong)[:5])
            raise DataError(f"{len(wrong)} {problem}: {first}. Predict all images of all folds.")
    if len(image_ids) != len(true_ids):
        raise DataError(f"{len(image_ids) - len(true_ids)} images have more than one map.")
