"""Networks, losses and augmentations are found, not listed: each is one file in its room.

The schema asks for the files of a room by the room's name, since it stands below all of them and
imports none. So a file that is added is known to the configuration, and nothing else changes.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any


def modules_in(room: str) -> list[ModuleType]:
    """Import the modules of `pipeline.<room>` and return them, by name.

    Args:
        room: Such as `training.losses`.
    """
    package = importlib.import_module(f"pipeline.{room}")
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"pipeline.{room}.{name}") for name in names]


def keyword_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the keyword-only parameters: what a configuration may set."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}
