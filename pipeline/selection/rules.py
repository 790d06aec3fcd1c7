"""How a map becomes objects: what calibration chooses, and what that does to one map.

`rules.json` holds either `Rules`, a few numbers, or a `LearntSelection`, learnt from segments.
`find_objects` applies either, to out-of-fold and to test maps alike.
"""

from typing import Any

from pipeline.errors import ArtifactError
from pipeline.maps import ImageMaps
from pipeline.masks.rle import Labels
from pipeline.selection.candidates import LearntSelection
from pipeline.selection.thresholds import AGAIN, Rules
from pipeline.separation.foreground import foreground_of

AnyRules = Rules | LearntSelection

FORMAT = 2
"""Of rules.json. Version 0.1.0 wrote 1, whose trees ask for a feature that is not measured now."""


KINDS: dict[str, type[Rules] | type[LearntSelection]] = {
    "thresholds": Rules,
    "candidate_selection": LearntSelection,
}


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
            f"another version. {AGAIN}"
        )
    rules = {name: each for name, each in value.items() if name != "kind"}
    return KINDS[kind].from_json(rules, source)


def find_objects(maps: ImageMaps | None, rules: AnyRules) -> Labels | None:
    """Cut the maps of an image into objects.

    Args:
        maps: Of the image; None where its probability was below the floor and not stored.
        rules: The calibrated rules.

    Returns:
        int32 (h, w), 0 for background and 1..n for objects; None where there is no object.

    Raises:
        ArtifactError: The rules cut by the touching-border channel, and there is none.
        DataError: More than 65,534 components.
    """
    foreground = None if maps is None else foreground_of(maps, rules.lowest)
    labels_hw = None if foreground is None else rules.find(foreground)
    return None if foreground is None or labels_hw is None else foreground.whole(labels_hw)
