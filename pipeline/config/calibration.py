"""The values that calibration may choose among, for each of the rules it tries.

What the rules do to a map is in `pipeline.selection`, how they are chosen in
`pipeline.calibration`.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.fields import Count, Section, Share
from pipeline.maps import as_level

__all__ = ["Calibrate", "CandidateSelection", "Watershed"]


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
    """Ways to split what is connected, each tried: by contact where maps have it, or by distance.

    See `pipeline.separation.separate.Separation`; `contact_seeds` are probabilities.
    """

    thresholds: Probabilities
    contact_seeds: Probabilities
    distance_seeds_percent: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Ascending]
    merge_below_px: Areas


class CandidateSelection(Section):
    """How to learn which segments are ships; see `pipeline.calibration.learn`."""

    levels: Probabilities
    min_area_px: Count
    trees: Count
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    leaves: Annotated[int, Field(ge=2)]
    min_leaf_segments: Count
    max_images: Annotated[int, Field(ge=3)]


class Calibrate(Section):
    """The values each rule may take; the competition's metric chooses among them."""

    thresholds: Probabilities
    min_areas_px: Areas
    connectivities: Annotated[list[Literal[4, 8]], Ascending]
    watershed: Watershed | None
    rectangles: Annotated[list[Step], Steps]
    image_filter_probabilities: Annotated[list[Share], Field(min_length=1), Steps]
    image_filter_areas_px: Areas
    candidate_selection: CandidateSelection | None

    @property
    def lowest(self) -> float:
        """The least probability of a ship's pixel that any rule may take."""
        tried = [*self.thresholds, *self.rectangles]
        tried += [] if self.watershed is None else self.watershed.thresholds
        tried += [] if self.candidate_selection is None else self.candidate_selection.levels
        return min(tried)

    @model_validator(mode="after")
    def _image_filters(self) -> Self:
        for name in ("image_filter_probabilities", "image_filter_areas_px"):
            if getattr(self, name)[0] != 0:
                raise ValueError(f"expected {name} to begin with 0, which is no image filter.")
        return self
