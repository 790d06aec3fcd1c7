"""Which segments of an image to submit, by the F2 that they may be expected to reach.

Segments with what is measured of them enter; the chosen ones leave. Trees say how many of the ten
IoU thresholds a segment will reach (0 for what is no object), `hits`. An image with n true objects
and k submitted ones scores sum(hits) / (2 (4 n + k)), so the best choice of segments, no two on one
way to a root, maximises this ratio. It is the F2 to expect over images with and without objects
alike, p s: the chance p that there is an object, times the F2 s if there is. Submitting nothing
scores 1 - p. So objects are submitted where p s > 1 - p, which is p > 1 / (1 + s). Where
calibration did not keep this image filter, that of plain rules stands in its place.

Source of the rule: the metric's definition, and the competition's write-ups on image filters.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtifactError
from pipeline.masks.rle import Labels
from pipeline.metrics.iou import THRESHOLDS
from pipeline.selection.thresholds import AGAIN, Rules
from pipeline.selection.trees import Trees
from pipeline.separation.foreground import Foreground
from pipeline.separation.segments import (
    FEATURES,
    IMAGE_HEAD,
    LOG_AREA,
    Features,
    cut_segments,
    draw_segments,
    find_segments,
)
from pipeline.separation.separate import Separation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

EPSILON = 1e-3  # the least of what a logarithm is taken of


@dataclass(frozen=True)
class Choice:
    """Segments to submit if any are, and what speaks for them.

    Attributes:
        segments: Their indices, ascending.
        f2: The F2 to expect of them, over images with and without objects.
        hits: The hits to expect of the best one, 0..10.
        head: The image head's logit, 0 without a head.
    """

    segments: tuple[int, ...]
    f2: float
    hits: float
    head: float = 0.0


@dataclass(frozen=True)
class ObjectCount:
    """How many true objects an image has for the hits its segments promise: a straight line."""

    base: float
    slope: float

    def of(self, hits: float) -> float:
        """Return the number to expect, at least 1: without objects the number does not matter."""
        return max(1.0, self.base + self.slope * hits)


@dataclass(frozen=True)
class LearntFilter:
    """The chance that an image has an object: a logistic function of what a choice promises."""

    bias: float
    f2_weight: float
    hits_weight: float
    head_weight: float

    def chance(self, choice: Choice) -> float:
        """Return the chance for a choice."""
        weights = self.f2_weight, self.hits_weight, self.head_weight
        return float(1 / (1 + np.exp(-self.bias - np.dot(filter_row(choice), weights))))


def filter_row(choice: Choice) -> tuple[float, float, float]:
    """Return what an image filter sees of a choice."""
    return float(np.log(choice.f2 + EPSILON)), float(np.log(choice.hits + EPSILON)), choice.head


@dataclass(frozen=True, eq=False)
class LearntSelection:
    """Everything that is learnt of segments.

    Attributes:
        cuts: The ways to cut, ascending by threshold.
        min_area_px: Smaller segments are never submitted.
        trees: Hits over ten from a segment's features.
        count: True objects of an image.
        image_filter: The chance of any, or rules whose image filter says which images have none.
    """

    cuts: tuple[Separation, ...]
    min_area_px: int
    trees: Trees
    count: ObjectCount
    image_filter: LearntFilter | Rules

    @property
    def lowest(self) -> int:
        """The least value of a pixel that matters."""
        lowest = self.cuts[0].threshold
        rules = self.image_filter
        return min(lowest, rules.lowest) if isinstance(rules, Rules) else lowest

    def find(self, foreground: Foreground) -> Labels | None:
        """Find objects as `pipeline.selection.rules.find_objects` does, within the foreground."""
        rules = self.image_filter
        if isinstance(rules, Rules) and rules.components(foreground.maps) is None:
            return None
        segments = find_segments(foreground, self.cuts)
        hits = expected_hits(self.trees, segments.features, self.min_area_px)
        chosen = self.decide(
            best_choice(hits, segments.parent, self.count, head_of(segments.features))
        )
        return draw_segments(foreground, segments.cuts, chosen) if chosen else None

    def decide(self, choice: Choice) -> tuple[int, ...]:
        """Return the choice's segments, or none where the learnt filter expects more of that."""
        learnt = self.image_filter
        if isinstance(learnt, LearntFilter) and choice.f2 <= 1 - learnt.chance(choice):
            return ()
        return choice.segments

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "features": list(FEATURES),
            "cuts": [asdict(cut) for cut in self.cuts],
            "min_area_px": self.min_area_px,
            "count": asdict(self.count),
            "image_filter": asdict(self.image_filter),
            "trees": self.trees.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any, source: str) -> "LearntSelection":  # noqa: ANN401  any JSON value
        """Read what `to_json` gave.

        Raises:
            ArtifactError: Not that, or of a version that measures other features.
        """
        names = {"features", *(field.name for field in fields(cls))}
        if not isinstance(value, dict) or set(value) != names:
            got = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise ArtifactError(f"{source}: expected {sorted(names)}, got {got}. {AGAIN}")
        if value["features"] != list(FEATURES):
            differing = sorted(set(value["features"]) ^ set(FEATURES))
            raise ArtifactError(
                f"{source}: learnt from other features than this version measures: "
                f"{', '.join(differing) or 'another order'}. {AGAIN}"
            )
        try:
            found = value["image_filter"]
            is_plain = "separation" in found
            where = f"{source}: image_filter"
            return cls(
                cuts=tuple(Separation(**cut) for cut in value["cuts"]),
                min_area_px=value["min_area_px"],
                trees=Trees.from_json(value["trees"], f"{source}: trees"),
                count=ObjectCount(**value["count"]),
                image_filter=Rules.from_json(found, where) if is_plain else LearntFilter(**found),
            )
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{source}: {error}. {AGAIN}") from None


@dataclass(frozen=True)
class Chosen:
    """Segments that a selection chose when it saw their features.

    Attributes:
        cuts: The selection's.
        segments: Their indices, ascending; at least one.
    """

    cuts: tuple[Separation, ...]
    segments: tuple[int, ...]

    def find(self, foreground: Foreground) -> Labels:
        """Find objects as the selection's own `find` does."""
        cuts = cut_segments(foreground, self.cuts, last=self.segments[-1])
        return draw_segments(foreground, cuts, self.segments)


def is_large(features: Features, min_area_px: int) -> npt.NDArray[np.bool_]:
    """Tell which segments have at least `min_area_px`, (n,)."""
    # Half a pixel less keeps the logarithm's rounding out of the comparison.
    large: npt.NDArray[np.bool_] = features[:, LOG_AREA] >= np.log(max(min_area_px, 1) - 0.5)
    return large


def head_of(features: Features) -> float:
    """Return the image head's logit from the segments of one image, 0 without any."""
    return float(features[0, IMAGE_HEAD]) if len(features) else 0.0


def expected_hits(trees: Trees, features: Features, min_area_px: int) -> Floats:
    """Return the hits to expect of each segment, 0..10, (n,); 0 for those that are too small."""
    hits: Floats = np.clip(trees.predict(features), 0, 1) * THRESHOLDS
    return np.where(is_large(features, min_area_px), hits, 0)


def total_hits(hits: Floats, parent: Integers) -> float:
    """Return the most hits that segments promise of which no two lie on one way to a root."""
    return float(hits[_best_sum(hits.tolist(), parent.tolist(), 0.0)].sum())


def best_choice(hits: Floats, parent: Integers, count: ObjectCount, head: float = 0.0) -> Choice:
    """Return the segments, no two on one way to a root, with the largest F2 to expect.

    With f2 the largest ratio, the largest sum of (hits - 2 f2) over a choice is 8 n f2, and the
    choice that reaches it is the best one (Dinkelbach). Such sums the trees give from their leaves
    to their roots.

    Args:
        hits: To expect of each segment, 0..10, (n,).
        parent: As in `Segments`: each segment comes after its parent.
        count: True objects for the hits promised.
        head: The image head's logit.
    """
    values, parents = hits.tolist(), parent.tolist()
    objects = count.of(total_hits(hits, parent))
    chosen: list[int] = []
    f2 = 0.0
    while True:
        better = _best_sum(values, parents, 2 * f2)
        better_f2 = sum(values[i] for i in better) / (2 * (4 * objects + len(better)))
        if better_f2 <= f2:
            best = max((values[i] for i in chosen), default=0)
            return Choice(tuple(chosen), min(f2, 1.0), best, head)
        chosen, f2 = better, better_f2


def _best_sum(hits: Sequence[float], parent: Sequence[int], price: float) -> list[int]:
    """Return the segments with the largest sum of hits less `price` each, ascending."""
    below = [0.0] * len(hits)  # the best sum among a segment's descendants
    taken = [False] * len(hits)
    for i in range(len(hits) - 1, -1, -1):
        gain = hits[i] - price
        taken[i] = gain > max(below[i], 0.0)
        if parent[i] >= 0:
            below[parent[i]] += max(gain, below[i], 0.0)
    covered = [False] * len(hits)
    chosen = []
    for i, is_taken in enumerate(taken):
        covered[i] = parent[i] >= 0 and covered[parent[i]]
        if is_taken and not covered[i]:
            chosen.append(i)
            covered[i] = True
    return chosen
