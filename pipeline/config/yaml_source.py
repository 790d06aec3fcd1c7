"""YAML with the line of every key, so that an error can name the place to look.

A configuration file and the chain of its `base:` files enter as text; one merged tree leaves, with
the file and line each value came from. A list is replaced as a whole, a mapping is merged key by
key. Overrides are `dotted.key=value`, the value in YAML, as `pipeline.config.yaml_text` reads it.

A mapping that the schema marks with `KeysOf` is the exception: which keys it may have depends on a
name beside it, so half of one and half of another makes no sense. A file that gives it replaces it
as a whole, and whoever changes the name, in a file or on the command line, starts with an empty
one. `dotted.key=value` changes one key of it, as anywhere.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline import __version__
from pipeline.config.describe import Key, describe, dotted, nearest
from pipeline.config.earlier import carried_over, new_name
from pipeline.config.fields import STORED
from pipeline.config.paths import IsPath, expanded
from pipeline.config.yaml_text import read_yaml
from pipeline.errors import ConfigError, about

VERSION = "version"
"""The key under which a stored configuration names the version of the pipeline that wrote it."""

Model = TypeVar("Model", bound=BaseModel)
Mark = TypeVar("Mark")


@dataclass(frozen=True)
class KeysOf:
    """Marks a mapping whose keys depend on the value of the field `name` beside it."""

    name: str


@dataclass
class _Source:
    """A tree of plain values and the place of each key in it.

    Attributes:
        dependents: Mappings marked with `KeysOf`, each with the key of its name.
        version: Of the pipeline that wrote the file; that of a person has none, as 0.1.0's.
    """

    tree: dict[str, Any]
    places: dict[Key, str]
    dependents: dict[Key, Key]
    version: str = ""

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
    dependents = {(*key, field): (*key, mark.name) for key, field, mark in _marked(model, KeysOf)}
    paths = {(*key, field): mark for key, field, mark in _marked(model, IsPath)}
    source = _read_with_bases(path, (), dependents)
    names = {dotted(name) for name in dependents.values()}
    # Names first: the order on the command line does not decide which keys are theirs.
    for override in sorted(overrides, key=lambda o: o.partition("=")[0] not in names):
        _apply_override(source, override, paths)
    return _checked(model, source)


def read_stored(model: type[BaseModel], path: Path) -> dict[str, Any]:
    """Return the values that a run stored, maybe in another version, by all the keys of `model`.

    Raises:
        ConfigError: It is missing or not YAML.
    """
    return _read_stored(model, path).tree


def validate_stored(model: type[Model], path: Path) -> Model:
    """Read a configuration that a run stored, maybe in another version, as a checked `model`.

    Raises:
        ConfigError: It is damaged, or a newer version wrote it with keys that this one lacks.
    """
    return _checked(model, _read_stored(model, path), STORED)


def _read_stored(model: type[BaseModel], path: Path) -> _Source:
    source = _read(path, {})
    with about(str(path)):
        source.tree = carried_over(model, source.tree)
    return source


def _checked(model: type[Model], source: _Source, context: dict[str, bool] | None = None) -> Model:
    try:
        text = json.dumps(source.tree)
        return model.model_validate_json(text, strict=True, context=context)
    except ValidationError as error:
        lines = [
            describe(model, source.tree, source.place, detail)
            for detail in error.errors(include_url=False)
        ]
        if _numbers(source.version) > _numbers(__version__):
            lines.append(
                f"Version {source.version} of the pipeline wrote it, and this is {__version__}. "
                "Use the version that wrote it, or a newer one."
            )
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def defect(location: Key, message: str, value: Any) -> InitErrorDetails:  # noqa: ANN401
    """Return what is wrong at `location`, from where the validator stands, for a ValidationError.

    Validators raise it for values below their own; `validate_source` then names file and line.
    """
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=location, input=value)


def _marked(
    model: type[BaseModel], kind: type[Mark], key: Key = ()
) -> Iterator[tuple[Key, str, Mark]]:
    """Yield the fields with a mark of that kind: key of the section, name, and the mark."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _marked(info.annotation, kind, (*key, name))
        for mark in info.metadata:
            if isinstance(mark, kind):
                yield key, name, mark


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
    try:
        base_path = path.parent / expanded(Path(base))
    except ValueError as error:
        raise ConfigError(f"{own.place(('base',))}: base: {error}") from None
    if not os.path.isfile(base_path):  # noqa: PTH113  false where the system refuses to look
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
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path}: no such configuration file.{_configurations(path)}") from None
    except IsADirectoryError:
        found = _configurations(path / "any")
        raise ConfigError(f"{path}: expected a configuration file, got a folder.{found}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}. Give a file of text.") from error
    places: dict[Key, str] = {}
    tree = read_yaml(text, (), lambda line: f"{path}:{line}", places)
    if not isinstance(tree, dict):
        got = "nothing" if tree is None else type(tree).__name__
        raise ConfigError(f"{path}: expected `key: value` lines, got {got}. Correct the file.")
    return _Source(tree, places, dependents, str(tree.pop(VERSION, "")))


def _configurations(missing: Path) -> str:
    """Return the hint for a missing file: what is in its folder, or else in the project's."""
    for folder in (missing.parent, Path("configs")):
        files = (*folder.glob("*.yaml"), *folder.glob("*/*.yaml"))
        names = [str(file.relative_to(folder)) for file in files if file.name[0] != "."]
        if names:
            return f" In {folder}:{nearest(missing.name, names)}"
    return ""


def _apply_override(source: _Source, override: str, paths: dict[Key, IsPath]) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise ConfigError(f"{override!r}: expected key=value, for example seed=1.")
    key: Key = tuple(name.split("."))
    value = read_yaml(text, key, lambda _: "command line", {})
    if isinstance(value, str | None) and text.count("#") > (value or "").count("#"):
        raise ConfigError(
            f"command line: {override}: expected no comment, but a # behind a space begins one. "
            f"Quote the value: '{name}=\"{text}\"'."
        )
    tree = source.tree
    if (renamed := new_name(name)) is not None:
        raise ConfigError(f"command line: {override}: is called {renamed} now. Rename it.")
    if key == ("base",):
        raise ConfigError(
            f"command line: {override}: only a file has a `base:`. Give the file as CONFIG, or "
            "write one of your own with `base:` in it."
        )
    for depth, part in enumerate(key):
        field, bracket, _ = str(part).partition("[")
        is_last = depth == len(key) - 1
        if isinstance(tree.get(field), list) and (bracket or not is_last):
            whole = dotted((*key[:depth], field))
            raise ConfigError(
                f"command line: {override}: {whole} is a list, which is given as a whole: "
                f"'{whole}=[...]'."
            )
        if is_last:
            break
        if not isinstance(tree.get(str(part)), dict):
            known = nearest(str(part), [name for name, v in tree.items() if isinstance(v, dict)])
            raise ConfigError(
                f"command line: {override}: there is no section "
                f"{dotted(key[: depth + 1])!r}.{known}"
            )
        tree = tree[str(part)]
    source.put(key, _from_caller(value, key, paths), {key: "command line"})


def _from_caller(value: Any, key: Key, paths: dict[Key, IsPath]) -> Any:  # noqa: ANN401
    """Let the paths that the command line gives start where it was called."""
    if isinstance(value, dict):
        return {name: _from_caller(each, (*key, name), paths) for name, each in value.items()}
    if isinstance(value, list):
        return [_from_caller(each, key, paths) for each in value]
    if key not in paths or not isinstance(value, str):
        return value
    with about(f"command line: {dotted(key)}"):
        return paths[key].of_caller(value)
