"""The values that calibration may choose among, for each of the rules it tries.

What the rules do to a map is in `pipeline.selection`, how they are chosen in
`pipeline.calibration`.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.competitions import MaskMetric, ObjectMetric
from pipeline.config.earlier import Neutral
from pipeline.config.fields import Count, Section, Share
from pipeline.maps import as_level


def _ascending(values: list[float]) -> list[float]:
    if not values or values != sorted(set(values)):
        raise ValueError(f"expected values that ascend, each once, got {values}.")
    return values


def _ascending_steps(values: list[float]) -> list[float]:
    steps = [as_level(value) for value in values]
    if steps != sorted(set(steps)):
        raise ValueError(
            "expected values that ascend, each in another of the maps' 255 steps, got "
            f"{values}, which are {steps}."
        )
    return values


Ascending = AfterValidator(_ascending)
Steps = AfterValidator(_ascending_steps)
Step = Annotated[float, Field(ge=1 / 255, lt=1)]
Probabilities = Annotated[list[Step], Field(min_length=1), Steps]
Areas = Annotated[list[Annotated[int, Field(ge=0)]], Ascending]


class Watershed(Section):
    """Ways to split what is connected, each tried: by touching border, if told, or by distance.

    See `pipeline.separation.separate.Separation`; `contact_seeds` are probabilities.
    """

    thresholds: Annotated[Probabilities, Neutral([0.5])]
    contact_seeds: Annotated[Probabilities, Neutral([0.5])]
    distance_seeds_percent: Annotated[
        list[Annotated[int, Field(ge=1, le=100)]], Ascending, Neutral([100])
    ]
    merge_below_px: Annotated[Areas, Neutral([0])]


class CandidateSelection(Section):
    """How to learn which segments are objects; see `pipeline.calibration.learn`."""

    levels: Annotated[Probabilities, Neutral([0.5])]
    min_area_px: Annotated[Count, Neutral(1)]
    trees: Annotated[Count, Neutral(100)]
    learning_rate: Annotated[float, Field(gt=0, le=1), Neutral(0.1)]
    leaves: Annotated[int, Field(ge=2), Neutral(31)]
    min_leaf_segments: Annotated[Count, Neutral(20)]
    max_images: Annotated[int, Field(ge=3), Neutral(2**31 - 1)]


class Calibrate(Section):
    """The values each rule may take, and the metric that chooses among them.

    `metric` null: the competition's; of images of your own, average precision of objects, else mean
    Dice. With `empty_answer` nothing is submitted of a class where that scores more.
    """

    metric: Annotated[ObjectMetric | MaskMetric | None, Neutral(None)]
    thresholds: Annotated[Probabilities, Neutral([0.5])]
    min_areas_px: Annotated[Areas, Neutral([0])]
    connectivities: Annotated[list[Literal[4, 8]], Ascending, Neutral([8])]
    watershed: Annotated[Watershed | None, Neutral(None)]
    image_filter_probabilities: Annotated[list[Share], Field(min_length=1), Steps, Neutral([0.0])]
    image_filter_areas_px: Annotated[Areas, Neutral([0])]
    candidate_selection: Annotated[CandidateSelection | None, Neutral(None)]
    empty_answer: Annotated[bool, Neutral(False)]

    @property
    def lowest(self) -> float:
        """The lowest probability of an object's pixel that any rule may take."""
        tried = [*self.thresholds]
        tried += [] if self.watershed is None else self.watershed.thresholds
        tried += [] if self.candidate_selection is None else self.candidate_selection.levels
        return min(tried)

    @model_validator(mode="after")
    def _image_filters(self) -> Self:
        for name in ("image_filter_probabilities", "image_filter_areas_px"):
            if getattr(self, name)[0] != 0:
                raise ValueError(f"expected {name} to begin with 0, which is no image filter.")
        return self
