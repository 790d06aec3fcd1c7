"""The `augment` section, made of what the files of `pipeline.data.augmentations` declare."""

from types import ModuleType
from typing import Annotated, Any

from pydantic import create_model

from pipeline.config.earlier import Neutral
from pipeline.config.extensions import keyword_types, modules_in
from pipeline.config.fields import Section
from pipeline.errors import ConfigError

KINDS = ("geometry", "colour", "sensor")
"""What changes a crop first, next and last, as what a camera sees does."""


def augmentations() -> list[ModuleType]:
    """Return the files in the order in which they change a crop: by kind, then by name.

    Raises:
        ConfigError: A file's kind is unknown.
    """
    found = modules_in("data.augmentations")
    for module in found:
        if module.KIND not in KINDS:
            raise ConfigError(
                f"{module.__file__}: KIND: expected one of {', '.join(KINDS)}, got {module.KIND!r}."
            )
    return sorted(found, key=lambda module: KINDS.index(module.KIND))


def section() -> type[Section]:
    """Return a section of the keys of all augmentations.

    Raises:
        ConfigError: Two files declare the same key, or a file's kind is unknown.
    """
    fields: dict[str, Any] = {}
    for module in augmentations():
        off = module.transform.__kwdefaults__
        for key, annotation in keyword_types(module.transform).items():
            if key in fields:
                raise ConfigError(
                    f"{module.__file__}: transform: {key}: expected a new key, got that of another "
                    "augmentation. Rename it."
                )
            fields[key] = (Annotated[annotation, Neutral(off[key])], ...)
    return create_model("AugmentKeys", __base__=Section, **fields)


class Augment(section()):  # type: ignore[misc]
    """Random changes to a training crop; the default in its file, the neutral value, means none."""
