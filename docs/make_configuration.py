"""Write docs/configuration.md, from the schema and the configurations."""

import json
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.earlier import Neutral, models_in
from pipeline.config.load import load_config
from pipeline.config.losses import TERMS
from pipeline.config.schema import Config

ROOT = Path(__file__).parents[1]
DEMO, AIRBUS = ROOT / "configs" / "demo.yaml", ROOT / "configs" / "airbus.yaml"
HEAD = """# Every setting

Made by `python docs/make_configuration.py` of the schema; do not edit. A configuration gives every
value itself or by its `base:`; `key.of.section=value` on the command line changes one. Neutral is
what a stored run that lacks the key is read with.

| key | what it may be | demo.yaml | airbus.yaml | neutral | |
|---|---|---|---|---|---|
"""


def comments() -> dict[str, str]:
    """Return the comment beside each key of demo.yaml, by its dotted name."""
    found: dict[str, str] = {}
    sections: list[tuple[int, str]] = []
    last = ""
    for line in DEMO.read_text(encoding="utf-8").splitlines():
        more = re.match(r"^\s{20,}#\s?(.*)", line)
        if more and last:
            found[last] = f"{found.get(last, '')} {more[1]}".strip()
            continue
        match = re.match(r"^( *)(\w+):[^#]*(?:#\s*(.*))?$", line)
        if not match:
            last = ""
            continue
        depth = len(match[1])
        sections = [(d, name) for d, name in sections if d < depth] + [(depth, match[2])]
        last = ".".join(name for _, name in sections)
        if match[3]:
            found[last] = match[3]
    return found


def in_words(annotation: Any, info: FieldInfo | None = None) -> str:  # noqa: ANN401
    """Return a type and its range as a person would write it."""
    limits = "" if info is None else _limits(info.metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return in_words(arguments[0]) + _limits(arguments[1:])
    if origin is Literal:
        return ", ".join(map(str, arguments)) + limits
    if origin in {Union, types.UnionType}:
        names = [in_words(each) for each in arguments if each is not type(None)]
        return " or ".join(names + ["null"] * (type(None) in arguments)) + limits
    if origin is list:
        return f"list of {in_words(arguments[0])}{limits}"
    if origin is dict:
        return "mapping"
    names = {int: "whole number", float: "number", str: "text", bool: "true, false", Path: "path"}
    return names.get(annotation, "section") + limits


def _limits(metadata: Iterable[object]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "a multiple of"}
    found = [
        f"{sign} {getattr(mark, name)}"
        for mark in metadata
        for name, sign in signs.items()
        if getattr(mark, name, None) is not None
    ]
    return f" {', '.join(found)}" if found else ""


def rows(model: type[BaseModel], key: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted key of each setting below `key`, a section's after it."""
    for name, info in model.model_fields.items():
        inner = models_in(info.annotation)
        if key or not inner or len(inner) > 1:
            yield f"{key}{name}", info
        if len(inner) == 1:
            yield from rows(inner[0], f"{key}{name}.")


def _value(config: dict[str, Any], key: str) -> str:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return _cell(value)


def _cell(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def document() -> str:
    """Return the text of docs/configuration.md."""
    demo, airbus = (load_config(path, []).model_dump(mode="json") for path in (DEMO, AIRBUS))
    said = comments()
    lines = []
    for key, info in rows(Config, ""):
        if len(models_in(info.annotation)) == 1:
            lines.append(f"| **`{key}`** | section | | | | {said.get(key, '')} |")
            continue
        neutral = next((_cell(m.value) for m in info.metadata if isinstance(m, Neutral)), "")
        kind = in_words(info.annotation, info)
        if key.endswith(".loss"):
            kind = "list of terms, see below"
        cells = f"`{key}`", kind, _value(demo, key), _value(airbus, key), neutral, said.get(key, "")
        lines.append(f"| {' | '.join(cells)} |")
    terms = [
        f"| `{name}` | {(term.__doc__ or '').splitlines()[0]} | "
        + ", ".join(f"`{field}`" for field in term.model_fields if field != "name")
        + f" | {', '.join(sorted(term.answers))} |"
        for name, term in TERMS.items()
    ]
    tail = "\n\n## Terms of a loss\n\n| name | what | settings | answers |\n|---|---|---|---|\n"
    return HEAD + "\n".join(lines) + tail + "\n".join(terms) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "configuration.md").write_text(document(), encoding="utf-8")
