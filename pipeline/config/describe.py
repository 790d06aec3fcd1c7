"""What pydantic found wrong, in a line that says where, what was expected and what to do."""

import difflib
import json
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipeline.config.earlier import REMOVED, RENAMED_VALUES, new_name, section_of

Key = tuple[str | int, ...]


def describe(
    model: type[BaseModel],
    tree: dict[str, Any],
    place_of: Callable[[Key], str],
    detail: ErrorDetails,
) -> str:
    """Turn one pydantic error into a line with place, key, what is wrong and a hint.

    Args:
        model: What was validated.
        tree: The plain values that were.
        place_of: File and line of a key.
        detail: The error.
    """
    key = _existing_part(tree, detail["loc"])
    if detail["type"] == "missing":
        key = (*key, str(detail["loc"][-1]))
        wrong = "missing. Give it a value here or in a `base:`."
    elif detail["type"] == "extra_forbidden":
        wrong = _of_unknown(model, tree, key)
    else:
        got = detail["input"]
        now = RENAMED_VALUES.get(dotted(key), {}).get(str(got))
        wrong = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if detail["type"] not in {"value_error", "assertion_error"}:
            plain = isinstance(got, str | int | float | bool | None)
            if now is not None:
                wrong = f"{got} is called {now} now. Rename it."
                return f"{place_of(key)}: {dotted(key)}: {wrong}"
            wrong = f"expected {wrong}, got {(repr(got) if plain else json.dumps(got))[:80]}."
    return f"{place_of(key)}: {dotted(key)}: {wrong}"


def _of_unknown(model: type[BaseModel], tree: dict[str, Any], key: Key) -> str:
    if (renamed := new_name(dotted(key))) is not None:
        return f"is called {renamed} now. Rename it."
    if (why := REMOVED.get(dotted(key))) is not None:
        return f"is gone: {why}. Delete it."
    return f"unknown key.{nearest(str(key[-1]), _known_keys(model, key[:-1], tree))}"


def _existing_part(tree: Any, location: tuple[str | int, ...]) -> Key:  # noqa: ANN401
    """Keep of pydantic's location what is in the file; a union's tag, say, is not."""
    key: Key = ()
    for part in location:
        inside = (isinstance(tree, dict) and part in tree) or (
            isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        )
        if inside:
            tree = tree[part]
            key = (*key, part)
    return key


def _known_keys(model: type[BaseModel], key: Key, tree: Any) -> list[str]:  # noqa: ANN401
    """Return the keys that the schema allows in the mapping at `key`."""
    for part in key:
        tree = tree[part]
        if isinstance(part, str):
            info = model.model_fields[part]
        model = section_of(info, tree) or model
    return sorted(model.model_fields)


def nearest(name: str, known: Collection[str]) -> str:
    """Return ` Did you mean ...? Known here: ...` for an unknown `name`."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known here: {', '.join(sorted(known)) or 'none; give the whole value'}."


def dotted(key: Key) -> str:
    """Return a key as people write it."""
    return ".".join(str(part) for part in key) or "(top level)"
