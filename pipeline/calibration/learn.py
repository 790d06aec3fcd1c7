"""Out-of-fold segments -> what is learnt of them: hits to expect, number of objects, image filter.

The filter and the number of objects are fitted on hits that the trees predict for scenes they did
not see (an inner split by scene), as they will have to for the images to come.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.calibration.measure import SegmentTable
from pipeline.config.calibration import CandidateSelection
from pipeline.metrics.iou import THRESHOLDS
from pipeline.metrics.metric import Floats, Integers
from pipeline.selection.candidates import (
    Choice,
    LearntFilter,
    LearntSelection,
    ObjectCount,
    best_choice,
    expected_hits,
    filter_row,
    head_of,
    is_large,
    total_hits,
)
from pipeline.selection.thresholds import Rules
from pipeline.selection.trees import Trees, fit_trees
from pipeline.separation.separate import Separation

INNER_FOLDS = 3


@dataclass(frozen=True)
class Lesson:
    """Images to learn from, and images to try on what is learnt.

    Attributes:
        cuts: How the segments were cut.
        table: Segments of these images, and maybe of others.
        images: To learn from.
        tried: To try it on.
    """

    cuts: tuple[Separation, ...]
    table: SegmentTable
    images: Integers
    tried: Integers


@dataclass(frozen=True)
class Learnt:
    """What a lesson taught, and what it does with the images it was tried on.

    Attributes:
        selection: What was learnt.
        choices: The segments chosen of each image, by its index; only of images with any.
        sums: Segments chosen of every image of the run and their hits, as the parts of F2 add up,
            int64 (images of the run, 2).
        submitted: Whether the learnt filter lets it be, bool (images of the run,).
    """

    selection: LearntSelection
    choices: dict[int, tuple[int, ...]]
    sums: Integers
    submitted: npt.NDArray[np.bool_]

    def filtered_by(self, rules: Rules, passed: npt.NDArray[np.bool_]) -> "Learnt":
        """Return the same with the image filter of plain rules, which lets these images pass."""
        selection = replace(self.selection, image_filter=rules)
        return replace(self, selection=selection, submitted=passed)

    def chosen(self) -> dict[int, tuple[int, ...]]:
        """Return the segments that are submitted of each image with any."""
        return {image: each for image, each in self.choices.items() if self.submitted[image]}


def learn_lessons(
    lessons: list[Lesson],
    *,
    n_true: Integers,
    groups: Integers,
    learning: CandidateSelection,
    seed: int,
) -> list[Learnt | None]:
    """Learn by each lesson and try it; the other arguments are those of `learn_selection`."""
    learnt: list[Learnt | None] = []
    for one in lessons:
        selection = learn_selection(
            *(one.table, one.images, n_true, groups, learning), cuts=one.cuts, seed=seed
        )
        tried = one.table.of(one.tried)
        learnt.append(None if selection is None else _try(selection, tried, len(n_true)))
    return learnt


def _try(selection: LearntSelection, table: SegmentTable, images: int) -> Learnt:
    """Let a selection choose in some of the images.

    Segments that share pixels count as if they did not, images without segments as without objects
    found.
    """
    choices: dict[int, tuple[int, ...]] = {}
    sums = np.zeros((images, 2), np.int64)
    submitted = np.zeros(images, np.bool_)
    hits = expected_hits(selection.trees, table.features, selection.min_area_px)
    for image, rows in table.rows_of.items():
        head = head_of(table.features[rows])
        choice = best_choice(hits[rows], table.parent[rows], selection.count, head)
        submitted[image] = bool(selection.decide(choice))
        if choice.segments:
            choices[image] = choice.segments
            hits_found = table.hits[rows][list(choice.segments)].sum()
            sums[image] = len(choice.segments), hits_found
    return Learnt(selection, choices, sums, submitted)


def learn_selection(
    table: SegmentTable,
    images: Integers,
    n_true: Integers,
    groups: Integers,
    learning: CandidateSelection,
    *,
    cuts: tuple[Separation, ...],
    seed: int,
) -> LearntSelection | None:
    """Learn from some images which segments to submit.

    Args:
        table: Segments of these images, and maybe of others.
        images: The images to learn from, of which a random part is taken if they are many.
        n_true: True objects of every image of the run, (images of the run,).
        groups: Scene of the same.
        learning: The settings of candidate selection.
        cuts: How the segments were cut.
        seed: For the draw, the inner split and the trees.

    Returns:
        What is learnt; None where fewer than three scenes have segments.
    """
    rng = np.random.default_rng(seed)
    seen = np.unique(table.image[is_large(table.features, learning.min_area_px)])
    seen = seen[np.isin(seen, images)]
    if len(seen) > learning.max_images:
        seen = np.sort(rng.choice(seen, learning.max_images, replace=False))
    scenes = rng.permutation(np.unique(groups[seen]))
    if len(scenes) < INNER_FOLDS:
        return None
    order = np.argsort(scenes)
    inner = (order % INNER_FOLDS)[np.searchsorted(scenes[order], groups[seen])]
    known = table.of(seen)
    hits = np.empty(len(known.image))
    for fold in range(INNER_FOLDS):
        held = np.isin(known.image, seen[inner == fold])
        trees = _fit(known.of(seen[inner != fold]), learning, seed)
        hits[held] = expected_hits(trees, known.features[held], learning.min_area_px)
    each = [(hits[rows], known.parent[rows]) for rows in known.rows_of.values()]
    count = _fit_count(np.array([total_hits(*one) for one in each]), n_true[seen])
    heads = [head_of(known.features[rows]) for rows in known.rows_of.values()]
    choices = [best_choice(*one, count, head) for one, head in zip(each, heads, strict=True)]
    image_filter = _fit_filter(choices, n_true[seen] > 0)
    return LearntSelection(
        cuts, learning.min_area_px, _fit(known, learning, seed), count, image_filter
    )


def _fit(table: SegmentTable, learning: CandidateSelection, seed: int) -> Trees:
    large = is_large(table.features, learning.min_area_px)
    return fit_trees(
        table.features[large],
        table.hits[large] / THRESHOLDS,
        trees=learning.trees,
        learning_rate=learning.learning_rate,
        leaves=learning.leaves,
        min_leaf_rows=learning.min_leaf_segments,
        seed=seed,
    )


def _fit_count(totals: Floats, n_true: Integers) -> ObjectCount:
    """Fit the number of objects of images that have any by least squares."""
    with_objects = n_true > 0
    if not with_objects.any():
        return ObjectCount(1.0, 0.0)
    spread = totals[with_objects] - totals[with_objects].mean()
    slope = float((spread * n_true[with_objects]).sum() / max((spread**2).sum(), 1e-9))
    slope = max(slope, 0.0)
    return ObjectCount(
        float(n_true[with_objects].mean() - slope * totals[with_objects].mean()), slope
    )


def _fit_filter(choices: list[Choice], has_object: npt.NDArray[np.bool_]) -> LearntFilter:
    """Fit by logistic regression; where all images are of one kind, the share of Laplace's rule."""
    if has_object.all() or not has_object.any():
        share = (has_object.sum() + 1) / (len(has_object) + 2)
        return LearntFilter(float(np.log(share / (1 - share))), 0.0, 0.0, 0.0)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit([filter_row(choice) for choice in choices], has_object)
    return LearntFilter(float(model.intercept_[0]), *model.coef_[0].tolist())
