"""What earlier versions stored, as this one says it.

Settings are added and renamed, and a run made before has to stay usable. So each field of the
schema has a neutral value: what it would have been before it existed. It stands for a key that a
stored `config.yaml` or manifest lacks. A configuration that a person writes gives every value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.errors import ConfigError

RENAMED = {
    # Of version 0.1.0; the first that fits is taken, so what lies deeper stands first.
    "calibrate.acceptance.least_px": "calibrate.candidate_selection.min_area_px",
    "calibrate.acceptance.images": "calibrate.candidate_selection.max_images",
    "calibrate.acceptance": "calibrate.candidate_selection",
    "calibrate.gate_probabilities": "calibrate.image_filter_probabilities",
    "calibrate.gate_areas_px": "calibrate.image_filter_areas_px",
    "crops.ship_share": "crops.object_share",
}


RENAMED_VALUES = {
    # Up to version 0.4.0.
    "targets.kind": {"ship": "object", "ship_contact": "object_contact", "classes": "softmax"},
}

REMOVED = {"calibrate.rectangles": "rectangles around components gained nothing in any trial"}
"""Keys that earlier versions had, and why they are gone."""


@dataclass(frozen=True)
class Neutral:
    """Marks a field with the value it would have had before it existed, a plain YAML value."""

    value: Any


@dataclass(frozen=True)
class Place:
    """Marks where files lie, and what is only noted of them: work stands for what is in them."""


def in_0_1_0(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree of plain values with the names and values that it had in version 0.1.0."""
    values = {key: {new: old for old, new in each.items()} for key, each in RENAMED_VALUES.items()}
    return _renamed(tree, {new: old for old, new in RENAMED.items()}, values)


def new_name(key: str, names: Mapping[str, str] = RENAMED) -> str | None:
    """Return the name that a dotted key has now, None for one that was not renamed."""
    for old, new in names.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def carried_over(model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Return a stored tree of plain values with the names and with all the fields of `model`.

    Raises:
        TypeError: A field that the tree lacks has no neutral value.
    """
    return _filled(model, _renamed(tree, RENAMED, RENAMED_VALUES))


def without_neutral(model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a tree from `carried_over` what is neutral: new fields change nothing."""
    return _without(_is_neutral, model, tree)


def without_places(model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Leave out of sections from `carried_over` where files lie."""
    return _without(_is_place, model, tree)


Test = Callable[[type[BaseModel], str, FieldInfo, Any], bool]
"""Tells something of a field by its section, its name, the field and its value."""


def _is_neutral(model: type[BaseModel], name: str, info: FieldInfo, value: Any) -> bool:  # noqa: ANN401
    return not _is_tag(info) and value == _neutral(model, name, info)


def _is_place(_model: type[BaseModel], _name: str, info: FieldInfo, _value: Any) -> bool:  # noqa: ANN401
    return Place() in info.metadata


def _without(test: Test, model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a tree, and of the sections in it, the fields that `test` is true of."""
    kept = {}
    for name, value in tree.items():
        info = model.model_fields.get(name)
        if info is None:
            kept[name] = value
        elif not test(model, name, info, value):
            kept[name] = _in_sections(partial(_without, test), info, value)
    return kept


def models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  a type expression
    """Return the schemas that a field's type names, members of a union one by one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in models_in(inner)]


def section_of(info: FieldInfo, value: Any) -> type[BaseModel] | None:  # noqa: ANN401  YAML
    """Return the schema of a mapping, of a union the one whose `name` it gives."""
    if not isinstance(value, dict):
        return None
    tags = {each: each.model_fields.get("name") for each in models_in(info.annotation)}
    named = [
        each for each, tag in tags.items() if tag and value.get("name") in get_args(tag.annotation)
    ]
    return next(iter(named or tags), None)


def _renamed(
    tree: dict[str, Any], names: Mapping[str, str], values: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    renamed: dict[str, Any] = {}

    def lay_out(section: dict[str, Any], above: str) -> None:
        for name, value in section.items():
            key = f"{above}{name}"
            if key in REMOVED:
                continue
            if isinstance(value, dict) and value:
                lay_out(value, f"{key}.")
                continue
            *sections, last = (new_name(key, names) or key).split(".")
            at = renamed
            for each in sections:
                at = at.setdefault(each, {})
                if not isinstance(at, dict):
                    raise ConfigError(f"{key} and {'.'.join(sections)} are given. Keep one.")
            at[last] = values[key].get(value, value) if key in values else value

    lay_out(tree, "")
    return renamed


def _filled(model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    filled = {
        name: _in_sections(_filled, info, tree[name])
        if name in tree
        else _neutral(model, name, info)
        for name, info in model.model_fields.items()
        if name in tree or not _is_tag(info)
    }
    return tree | filled


def _in_sections(
    change: Callable[[type[BaseModel], dict[str, Any]], dict[str, Any]],
    info: FieldInfo,
    value: Any,  # noqa: ANN401  a YAML value
) -> Any:  # noqa: ANN401
    """Change a section, or each of a list of them; return anything else as it is."""
    if isinstance(value, list):
        return [_in_sections(change, info, item) for item in value]
    section = section_of(info, value)
    return value if section is None else change(section, value)


def _is_tag(info: FieldInfo) -> bool:
    """Tell whether a field only says which member of a union its section is."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1


def _neutral(model: type[BaseModel], name: str, info: FieldInfo) -> Any:  # noqa: ANN401  YAML
    for mark in info.metadata:
        if isinstance(mark, Neutral):
            return mark.value
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
        return _filled(info.annotation, {})
    raise TypeError(
        f"{model.__name__}.{name} has no neutral value. Mark it with Neutral(...): what it would "
        "have been before it existed."
    )
