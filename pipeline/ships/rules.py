"""How a map becomes ships: the numbers that calibration chooses, and what they do to one map.

`Rules` is what `rules.json` holds. `find_ships` applies them, to out-of-fold and to test maps
alike.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.errors import ArtifactError
from pipeline.ships.rle import Labels
from pipeline.ships.separate import Connectivity, ProbabilityMap, draw_labels, find_components

__all__ = ["Rules", "find_ships"]

RANGES = {
    "threshold": range(1, 256),
    "connectivity": (4, 8),
    "min_area_px": range(2**31),
    "gate_prob": range(256),
    "gate_area_px": range(2**31),
}


@dataclass(frozen=True)
class Rules:
    """The rules of one run, in the units of the 8-bit maps.

    Attributes:
        threshold: Least value of a ship's pixel, 1..255.
        connectivity: 4 or 8.
        min_area_px: Smaller components are dropped.
        gate_prob: A map whose maximum is below holds no ship at all; 0 is no gate.
        gate_area_px: A map whose largest component is smaller holds no ship at all; 0 is no gate.
    """

    threshold: int
    connectivity: Connectivity
    min_area_px: int
    gate_prob: int = 0
    gate_area_px: int = 0

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                raise ValueError(f"{name}: expected a whole number in {allowed}, got {value!r}")

    def to_json(self) -> dict[str, int]:
        """Return the rules as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, source: str) -> "Rules":  # noqa: ANN401  any JSON value
        """Read what `to_json` gave.

        Raises:
            ArtifactError: A rule is missing, unknown, or out of range; `source` is named.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or set(value) != names:
            got = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise ArtifactError(
                f"{source}: expected exactly the rules {sorted(names)}, got {got}. They are of "
                "another version: run the calibration again."
            )
        try:
            return cls(**value)
        except ValueError as error:
            raise ArtifactError(f"{source}: {error}. Run the calibration again.") from None


def find_ships(prob_hw: ProbabilityMap | None, rules: Rules) -> Labels | None:
    """Cut one map into ships.

    Args:
        prob_hw: Probability of ship x 255, uint8 (h, w); None where the map was below the floor
            and not stored.
        rules: The calibrated rules.

    Returns:
        int32 (h, w), 0 for sea and 1..n for ships; None where there is no ship.

    Raises:
        DataError: More than 65,534 components.
    """
    if prob_hw is None or not prob_hw.size or int(prob_hw.max()) < rules.gate_prob:
        return None
    components = find_components(prob_hw, rules.threshold, rules.connectivity)
    keep = components.area_px >= rules.min_area_px
    if not keep.any() or int(np.max(components.area_px)) < rules.gate_area_px:
        return None
    return draw_labels(components, keep)
