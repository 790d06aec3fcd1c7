"""YAML with the line of every key, so that an error can name the place to look.

A configuration file and the chain of its `base:` files enter as text; one merged tree leaves, with
the file and line each value came from. A list is replaced as a whole, a mapping is merged key by
key. Overrides are `dotted.key=value`, the value in YAML.
"""

import difflib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError

__all__ = ["validate_source"]

Model = TypeVar("Model", bound=BaseModel)
Key = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 but for two of its traps: 1e-4 is a number, and yes/no/on/off stay words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag.rsplit(":", 1)[1] not in {"float", "bool"}]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.nan$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)


@dataclass
class _Source:
    """A tree of plain values and the place of each key in it."""

    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Return where `key`, or else the nearest mapping around it, was written."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places[key]


def validate_source(model: type[Model], path: Path, overrides: list[str]) -> Model:
    """Read `path`, its bases and the overrides; return them as a checked `model`.

    Raises:
        ConfigError: Every defect found, each with file, line, key, expected and got.
    """
    source = _read_with_bases(path, ())
    for override in overrides:
        _apply_override(source, override)
    try:
        return model.model_validate_json(json.dumps(source.tree), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = dict.fromkeys(_describe(model, source, detail) for detail in details)
        raise ConfigError("\n".join(lines)) from None


def _read_with_bases(path: Path, children: tuple[Path, ...]) -> _Source:
    path = path.resolve()
    if path in children:
        cycle = " -> ".join(str(shown) for shown in [*children[children.index(path) :], path])
        raise ConfigError(f"{path}: `base:` leads back to itself: {cycle}. Remove one `base:`.")
    own = _read(path)
    base = own.tree.pop("base", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise ConfigError(f"{own.place(('base',))}: base: expected a file name, got {base!r}.")
    base_path = path.parent / base
    if not base_path.is_file():
        raise ConfigError(
            f"{own.place(('base',))}: base: no file {base_path}. Give the path relative to {path}."
        )
    merged = _read_with_bases(base_path, (*children, path))
    _merge(merged, own, ())
    return merged


def _merge(below: _Source, above: _Source, key: Key) -> None:
    """Lay `above` over `below` in place, from the mapping at `key` downwards."""
    target, extra = _at(below.tree, key), _at(above.tree, key)
    below.places[key] = above.places[key]
    for name, value in extra.items():
        here = (*key, name)
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(below, above, here)
            continue
        for old in [known for known in below.places if known[: len(here)] == here]:
            del below.places[old]
        target[name] = value
        below.places.update({k: v for k, v in above.places.items() if k[: len(here)] == here})


def _at(tree: Any, key: Key) -> Any:  # noqa: ANN401  a YAML value
    for part in key:
        tree = tree[part]
    return tree


def _read(path: Path) -> _Source:
    if not path.is_file():
        known = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise ConfigError(
            f"{path}: no such configuration file."
            + (f" There are: {', '.join(known)}." if known else "")
        )
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{path}: expected `key: value` lines, got {'nothing' if node is None else node.tag}."
        )
    places: dict[Key, str] = {}
    tree = _construct(node, (), path, places)
    return _Source(tree, places)


def _construct(node: yaml.Node, key: Key, path: Path, places: dict[Key, str]) -> Any:  # noqa: ANN401
    places.setdefault(key, f"{path}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        mapping = {}
        for name_node, value_node in node.value:
            place = f"{path}:{name_node.start_mark.line + 1}"
            name = name_node.value
            if name in mapping:
                first = places[(*key, name)]
                raise ConfigError(
                    f"{place}: {_dotted((*key, name))}: given twice, first at {first}. Keep one."
                )
            places[(*key, name)] = place
            mapping[name] = _construct(value_node, (*key, name), path, places)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*key, i), path, places) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:  # noqa: ANN401  a YAML value
    loader = _Loader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _apply_override(source: _Source, override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{override!r}: expected key=value, for example seed=1.")
    key: Key = tuple(dotted.split("."))
    try:
        node = yaml.compose(text, Loader=_Loader) if text.strip() else None
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{override!r}: the value is not YAML: {' '.join(str(error).split())}"
        ) from error
    tree = source.tree
    for depth, part in enumerate(key[:-1]):
        if not isinstance(tree.get(str(part)), dict):
            known = _nearest(str(part), [name for name, v in tree.items() if isinstance(v, dict)])
            raise ConfigError(
                f"command line: {override}: there is no section "
                f"{_dotted(key[: depth + 1])!r}.{known}"
            )
        tree = tree[str(part)]
    for old in [known_key for known_key in source.places if known_key[: len(key)] == key]:
        del source.places[old]
    source.places[key] = "command line"
    nested: dict[Key, str] = {}
    tree[str(key[-1])] = (
        None if node is None else _construct(node, key, Path("command line"), nested)
    )


def _describe(model: type[BaseModel], source: _Source, detail: ErrorDetails) -> str:
    """Turn one pydantic error into a line with place, key, what is wrong and a hint."""
    key = _existing_part(source.tree, detail["loc"])
    place, got = source.place(key), detail["input"]
    if detail["type"] == "missing":
        name = str(detail["loc"][-1])
        return f"{place}: {_dotted((*key, name))}: missing. Give it a value here or in a `base:`."
    if detail["type"] == "extra_forbidden":
        known = _nearest(str(key[-1]), _known_keys(model, key[:-1], source.tree))
        return f"{place}: {_dotted(key)}: unknown key.{known}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] in {"value_error", "assertion_error"}:
        return f"{place}: {_dotted(key)}: {message}"
    if isinstance(got, str | int | float | bool | None):
        return f"{place}: {_dotted(key)}: expected {message}, got {got!r}."
    return f"{place}: {_dotted(key)}: expected {message}, got {json.dumps(got)[:80]}."


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
    current: Any = model
    for part in key:
        tree = tree[part]
        if isinstance(part, str):
            current = current.model_fields[part].annotation
    models = _models_in(current)
    tagged = [m for m in models if isinstance(tree, dict) and _has_tag(m, tree)]
    return sorted({name for m in tagged or models for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models_in(inner)]


def _has_tag(model: type[BaseModel], tree: dict[str, Any]) -> bool:
    """Tell whether `tree` names `model`, a member of a union told apart by `name:`."""
    tag = model.model_fields.get("name")
    return tag is not None and tree.get("name") in getattr(tag.annotation, "__args__", ())


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known here: {', '.join(sorted(known))}."


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key) or "(top level)"
