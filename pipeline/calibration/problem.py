"""The out-of-fold maps and the truth of all images, read once and measured as rules need them.

`(ImageId, fold, maps)` and the true objects enter; what is measured of them leaves, or the objects
that rules find. Of a whole competition's maps only the packed foregrounds lie in memory.
"""

from collections.abc import Iterable, Iterator, Mapping
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
from pipeline.calibration.search import Measured, Sums
from pipeline.errors import ArtifactError, DataError
from pipeline.maps import ImageMaps
from pipeline.masks.rle import parse_rows
from pipeline.masks.sizes import Sizes
from pipeline.metrics.metric import Metric
from pipeline.selection.candidates import Chosen, LearntSelection
from pipeline.selection.rules import AnyRules
from pipeline.selection.submission import Drawn, draw_instances
from pipeline.selection.thresholds import Rules
from pipeline.selection.workers import Workers
from pipeline.separation.foreground import Packed, pack
from pipeline.separation.separate import Separation

Maps = Iterable[tuple[str, int, ImageMaps | None]]
_Image = tuple[str, int, Packed | None]


class Problem:
    """The maps and the truth of all images; they are read when they are measured first."""

    def __init__(
        self,
        maps: Maps,
        truth: pd.DataFrame,
        sizes: Sizes,
        lowest: int,
        those: Workers,
        *,
        objects: bool = True,
    ) -> None:
        masks = truth[truth["EncodedPixels"] != ""]
        self._texts = masks.groupby("ImageId")["EncodedPixels"].apply(list).to_dict()
        self._maps, self._truth, self._sizes = maps, truth, sizes
        self._lowest, self._workers, self._objects = lowest, those, objects
        self._images: list[_Image] = []
        self._max_prob: list[int] = []

    def measure(
        self, separations: list[Separation], metric: Metric, beside: Sums | None = None
    ) -> Measured:
        """Read and measure all maps for a metric, and check that they are the truth's."""
        measure = partial(measure_components, separations=separations)
        results = list(self._workers.in_order(measure, self._tasks(self._read())))
        found = {one: Found.joined(result[one] for result in results) for one in separations}
        image_ids = [image_id for image_id, _, _ in self._images]
        folds = np.array([fold for _, fold, _ in self._images])
        _check_images(image_ids, set(self._truth["ImageId"]))
        texts = [self._texts.get(image_id, []) for image_id in image_ids]
        n_true = np.array([len(each) for each in texts])
        image = np.repeat(np.arange(len(texts)), n_true)
        of_mask = self._sizes.of(image_ids)[image]
        runs, owners = parse_rows([text for each in texts for text in each], *of_mask.T)
        owners = image[owners]
        true_px = np.bincount(owners, runs[:, 1], len(texts)).astype(np.int64)
        max_prob = np.array(self._max_prob)
        return Measured(metric, image_ids, folds, n_true, true_px, max_prob, found, beside)

    def segments(self, cuts: tuple[Separation, ...]) -> SegmentTable:
        """Measure the segments of all maps, which `measure` has read."""
        measure = partial(measure_segments, cuts=cuts)
        tables = self._workers.in_order(measure, self._tasks(self._images))
        return SegmentTable.joined(tables)

    def objects(
        self,
        fold_rules: Mapping[int, Rules] | Mapping[int, AnyRules],
        chosen: Mapping[int, tuple[int, ...]],
    ) -> Drawn:
        """Return what each fold's rules find in what `measure` has read.

        Args:
            fold_rules: Of each fold.
            chosen: Where rules are learnt, the segments that they submit of each image, by its
                index; of other images they submit none.
        """
        images = []
        for image, (image_id, fold, packed) in enumerate(self._images):
            rules: AnyRules | Chosen = fold_rules[fold]
            if isinstance(rules, LearntSelection):
                rules = Chosen(rules.cuts, chosen.get(image, ()))
                packed = packed if rules.segments else None  # noqa: PLW2901
            images.append(((image_id,), rules, packed))
        return draw_instances(images, self._workers, objects=self._objects)

    def _read(self) -> Iterator[_Image]:
        for image_id, fold, maps in self._maps:
            height, width = self._sizes[image_id]
            if maps is not None and maps.prob_hw.shape != (height, width):
                raise ArtifactError(
                    f"the map of {image_id}: expected {height}x{width} px, the size of the image, "
                    f"got {maps.prob_hw.shape}. Predict again."
                )
            self._images.append((image_id, fold, pack(maps, self._lowest)))
            self._max_prob.append(0 if maps is None else int(maps.prob_hw.max(initial=0)))
            yield self._images[-1]

    def _tasks(self, images: Iterable[_Image]) -> Iterator[Task]:
        for image, (image_id, _, packed) in enumerate(images):
            if packed is not None:
                yield Task(image, image_id, packed, self._texts.get(image_id, []))


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
