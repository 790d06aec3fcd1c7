"""Rules that are a few numbers: how to cut a map, a least area, and a filter on the whole image.

The filter says which images have no object at all, whatever their components.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipeline.errors import ArtifactError
from pipeline.maps import MAX_LEVEL, ImageMaps
from pipeline.masks.rle import Labels
from pipeline.separation.foreground import Foreground
from pipeline.separation.separate import Components, Separation, draw_labels, find_components

AGAIN = "Calibrate again, with `./run.sh CONFIG --from calibrate --restart`."
NOTHING = MAX_LEVEL + 1
RANGES = {
    "min_area_px": range(2**31),
    "filter_level": range(MAX_LEVEL + 2),
    "filter_area_px": range(2**31),
}


@dataclass(frozen=True)
class Rules:
    """The rules of one run, in the units of the 8-bit maps.

    Attributes:
        separation: How maps are cut into components.
        min_area_px: Smaller components are dropped.
        filter_level: A map whose maximum is below holds no object at all; 0: no filter, NOTHING: no
            map holds one.
        filter_area_px: A map whose largest component is smaller holds no object at all; 0: no
            filter.
    """

    separation: Separation
    min_area_px: int
    filter_level: int = 0
    filter_area_px: int = 0

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                raise ValueError(f"{name}: expected a whole number in {allowed}, got {value!r}")

    @property
    def lowest(self) -> int:
        """The least value of an object's pixel."""
        return self.separation.threshold

    def components(self, maps: ImageMaps) -> Components | None:
        """Return all components of an image's maps; None where the filter finds no object."""
        if int(maps.prob_hw.max()) < self.filter_level:
            return None
        components = find_components(maps, self.separation)
        passes = int(components.area_px.max(initial=0)) >= self.filter_area_px
        return components if passes else None

    def find(self, foreground: Foreground) -> Labels | None:
        """Find objects as `pipeline.selection.rules.find_objects` does, within the foreground."""
        components = self.components(foreground.maps)
        if components is None:
            return None
        keep = components.area_px >= self.min_area_px
        return draw_labels(components, keep) if keep.any() else None

    def scaled(self, times: float) -> "Rules":
        """Return the rules for maps in which an object has so many times the pixels."""
        names = ("min_area_px", "filter_area_px")
        return replace(self, **{name: round(getattr(self, name) * times) for name in names})

    def to_json(self) -> dict[str, Any]:
        """Return the rules as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, source: str) -> "Rules":  # noqa: ANN401  any JSON value
        """Read what `to_json` gave.

        Raises:
            ArtifactError: A rule is missing, unknown, or out of range; `source` is named.
        """
        _check_names(cls, value, source)
        _check_names(Separation, value["separation"], f"{source}: separation")
        try:
            return cls(**value | {"separation": Separation(**value["separation"])})
        except ValueError as error:
            raise ArtifactError(f"{source}: {error}. {AGAIN}") from None


def _check_names(of: type[Rules | Separation], value: object, source: str) -> None:
    names = {field.name for field in fields(of)}
    if not isinstance(value, dict) or set(value) != names:
        got = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise ArtifactError(
            f"{source}: expected exactly the rules {sorted(names)}, got {got}. They are of "
            f"another version. {AGAIN}"
        )
