"""YAML with the line of every key, so that an error can name the place to look.

A configuration file and the chain of its `base:` files enter as text; one merged tree leaves, with
the file and line each value came from. A list is replaced as a whole, a mapping is merged key by
key. Overrides are `dotted.key=value`, the value in YAML.

A mapping that the schema marks with `KeysOf` is the exception: which keys it may have depends on a
name beside it, so half of one and half of another makes no sense. A file that gives it replaces it
as a whole, and whoever changes the name, in a file or on the command line, starts with an empty
one. `dotted.key=value` changes one key of it, as anywhere.
"""

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from pipeline.errors import ConfigError

__all__ = ["KeysOf", "defect", "validate_source"]

Model = TypeVar("Model", bound=BaseModel)
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class KeysOf:
    """Marks a mapping whose keys depend on the value of the field `name` beside it."""

    name: str


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
    """A tree of plain values and the place of each key in it.

    Attributes:
        dependents: Mappings marked with `KeysOf`, each with the key of its name.
    """

    tree: dict[str, Any]
    places: dict[Key, str]
    dependents: dict[Key, Key]

    def place(self, key: Key) -> str:
        """Return where `key`, or else the nearest mapping around it, was written."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places[key]

    def merge(self, above: "_Source", key: Key) -> None:
        """Lay `above` over this tree in place, from the mapping at `key` downwards."""
        target = _at(self.tree, key)
        self.places[key] = above.places[key]
        names = self.dependents.values()
        # Names first, so that what depends on them stays where the file gives both.
        for name, value in sorted(
            _at(above.tree, key).items(), key=lambda item: (*key, item[0]) not in names
        ):
            here = (*key, name)
            both = isinstance(value, dict) and isinstance(target.get(name), dict)
            if both and here not in self.dependents:
                self.merge(above, here)
            else:
                self.put(here, value, above.places)

    def put(self, key: Key, value: Any, places: dict[Key, str]) -> None:  # noqa: ANN401
        """Set the value at `key`, with its places; a changed name empties what depends on it."""
        mapping, last = _at(self.tree, key[:-1]), key[-1]
        for dependent, name in self.dependents.items():
            if name == key and dependent[-1] in mapping and mapping.get(last) != value:
                self.put(dependent, {}, {dependent: places[key]})
        mapping[last] = value
        self.places = {k: v for k, v in self.places.items() if k[: len(key)] != key}
        self.places |= {k: v for k, v in places.items() if k[: len(key)] == key}


def validate_source(model: type[Model], path: Path, overrides: list[str]) -> Model:
    """Read `path`, its bases and the overrides; return them as a checked `model`.

    Raises:
        ConfigError: Every defect found, each with file, line, key, expected and got.
    """
    dependents = _dependents(model, ())
    source = _read_with_bases(path, (), dependents)
    names = {_dotted(name) for name in dependents.values()}
    # Names first: the order on the command line does not decide which keys are theirs.
    for override in sorted(overrides, key=lambda o: o.partition("=")[0] not in names):
        _apply_override(source, override)
    try:
        return model.model_validate_json(json.dumps(source.tree), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = dict.fromkeys(_describe(model, source, detail) for detail in details)
        raise ConfigError("\n".join(lines)) from None


def defect(location: Key, message: str, value: Any) -> InitErrorDetails:  # noqa: ANN401
    """Return what is wrong at `location`, from where the validator stands, for a ValidationError.

    Validators raise it for values below their own; `validate_source` then names file and line.
    """
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=location, input=value)


def _dependents(model: type[BaseModel], key: Key) -> dict[Key, Key]:
    """Find the mappings marked with `KeysOf`, each with the key of the name it depends on."""
    found: dict[Key, Key] = {}
    for field_name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= _dependents(info.annotation, (*key, field_name))
        for mark in info.metadata:
            if isinstance(mark, KeysOf):
                found[(*key, field_name)] = (*key, mark.name)
    return found


def _read_with_bases(path: Path, children: tuple[Path, ...], dependents: dict[Key, Key]) -> _Source:
    path = path.resolve()
    if path in children:
        cycle = " -> ".join(str(shown) for shown in [*children[children.index(path) :], path])
        raise ConfigError(f"{path}: `base:` leads back to itself: {cycle}. Remove one `base:`.")
    own = _read(path, dependents)
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
    merged = _read_with_bases(base_path, (*children, path), dependents)
    merged.merge(own, ())
    return merged


def _at(tree: Any, key: Key) -> Any:  # noqa: ANN401  a YAML value
    for part in key:
        tree = tree[part]
    return tree


def _read(path: Path, dependents: dict[Key, Key]) -> _Source:
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
    return _Source(tree, places, dependents)


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
    value = None if node is None else _construct(node, key, Path("command line"), {})
    source.put(key, value, {key: "command line"})


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
