"""How a map becomes ships: what calibration chooses, and what that does to one map.

`rules.json` holds either `Rules`, a few numbers, or an `Acceptance`, learnt from segments.
`find_ships` applies either, to out-of-fold and to test maps alike.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.errors import ArtifactError
from pipeline.selection.acceptance import Acceptance
from pipeline.separation.foreground import Foreground, foreground_of
from pipeline.separation.segments import draw_segments, find_segments
from pipeline.separation.separate import ImageMaps, Separation, draw_labels, find_components
from pipeline.ships.rle import Labels

__all__ = ["AnyRules", "Rules", "find_ships", "read_rules", "rules_to_json", "ships_in"]

RANGES = {
    "min_area_px": range(2**31),
    "gate_prob": range(256),
    "gate_area_px": range(2**31),
}


@dataclass(frozen=True)
class Rules:
    """The rules of one run, in the units of the 8-bit maps.

    Attributes:
        separation: How maps are cut into components.
        min_area_px: Smaller components are dropped.
        gate_prob: A map whose maximum is below holds no ship at all; 0 is no gate.
        gate_area_px: A map whose largest component is smaller holds no ship at all; 0 is no gate.
    """

    separation: Separation
    min_area_px: int
    gate_prob: int = 0
    gate_area_px: int = 0

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                raise ValueError(f"{name}: expected a whole number in {allowed}, got {value!r}")

    @property
    def lowest(self) -> int:
        """The least value of a ship's pixel."""
        return self.separation.threshold

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
            raise ArtifactError(f"{source}: {error}. Run the calibration again.") from None


def _check_names(of: type[Rules | Separation], value: object, source: str) -> None:
    names = {field.name for field in fields(of)}
    if not isinstance(value, dict) or set(value) != names:
        got = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise ArtifactError(
            f"{source}: expected exactly the rules {sorted(names)}, got {got}. They are of "
            "another version: run the calibration again."
        )


AnyRules = Rules | Acceptance


KINDS: dict[str, type[Rules] | type[Acceptance]] = {"thresholds": Rules, "acceptance": Acceptance}


def rules_to_json(rules: AnyRules) -> dict[str, Any]:
    """Return a JSON object that says of which kind the rules are."""
    kind = next(name for name, each in KINDS.items() if type(rules) is each)
    return {"kind": kind} | rules.to_json()


def read_rules(value: Any, source: str) -> AnyRules:  # noqa: ANN401  any JSON value
    """Read what `rules_to_json` gave.

    Raises:
        ArtifactError: Not that; `source` is named.
    """
    kind = value.get("kind") if isinstance(value, dict) else type(value).__name__
    if kind not in KINDS:
        raise ArtifactError(
            f"{source}: expected rules of the kind {' or '.join(KINDS)}, got {kind}. They are of "
            "another version: run the calibration again."
        )
    rules = {name: each for name, each in value.items() if name != "kind"}
    return KINDS[kind].from_json(rules, source)


def find_ships(maps: ImageMaps | None, rules: AnyRules) -> Labels | None:
    """Cut the maps of an image into ships.

    Args:
        maps: Of the image; None where its probability was below the floor and not stored.
        rules: The calibrated rules.

    Returns:
        int32 (h, w), 0 for sea and 1..n for ships; None where there is no ship.

    Raises:
        ArtifactError: The rules cut by the contact channel, and there is none.
        DataError: More than 65,534 components.
    """
    foreground = None if maps is None else foreground_of(maps, rules.lowest)
    return None if foreground is None else ships_in(foreground, rules)


def ships_in(foreground: Foreground, rules: AnyRules) -> Labels | None:
    """Do as `find_ships`, from all that reaches `rules.lowest` or less."""
    if isinstance(rules, Acceptance):
        segments = find_segments(foreground, rules.cuts)
        chosen = rules.choose(segments)
        return draw_segments(segments, chosen) if chosen else None
    if int(foreground.maps.prob_hw.max()) < rules.gate_prob:
        return None
    components = find_components(foreground.maps, rules.separation)
    keep = components.area_px >= rules.min_area_px
    if not keep.any() or int(np.max(components.area_px)) < rules.gate_area_px:
        return None
    return foreground.whole(draw_labels(components, keep))
