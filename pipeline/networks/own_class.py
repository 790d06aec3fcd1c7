"""From a file of one's own, `network.arch: file:PATH:CLASS`, to the module that `build` wraps.

The file is run, as one module that is known by no other name. Whatever goes wrong in it is told as
what is wrong with the configuration, with the line of the file.
"""

import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import nn

from pipeline.config.code_file import CodeFile
from pipeline.config.describe import nearest
from pipeline.errors import ConfigError, PipelineError
from pipeline.networks.two_headed import TwoHeaded

_MODULE = "network_of_ones_own"


@contextmanager
def errors_of(file: CodeFile, what: str) -> Iterator[None]:
    """Tell an error that comes out of the file as ConfigError, with the line where it left it."""
    try:
        yield
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(file.path)]
        line = lines[-1] if lines else getattr(error, "lineno", None)  # of a SyntaxError
        raise ConfigError(
            f"network.arch: {file.path}{f', line {line}' if line else ''}: {file.name} {what}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}. Correct the file."
        ) from error


def build_own(
    file: CodeFile, channels: int, options: dict[str, Any], image_head: bool
) -> nn.Module:
    """Run the file and call its class.

    Args:
        file: Holds the class. Its objects turn (N, 3, H, W), normalised, into logits (N, channels,
            H, W); H and W are multiples of their attribute `stride_px`, 1 where they have none.
        channels: A keyword argument of the class, as are the options.
        options: The rest of them.
        image_head: Whether it will get a head for images, as only a `TwoHeaded` can.

    Raises:
        ConfigError: The file cannot be read or run, has no such class, or the class cannot be
            called so or is not what is wanted.
    """
    names = vars(_module(file))
    found: Any = names.get(file.name)
    if not _is_network(found):
        known = [name for name, value in names.items() if _is_network(value)]
        raise ConfigError(
            f"network.arch: {file}: expected a class made of torch.nn.Module, got "
            f"{'no such name' if found is None else repr(found)}.{nearest(file.name, known)}"
        )
    signature = inspect.signature(found)
    try:
        signature.bind(channels=channels, **options)
    except TypeError as error:
        raise ConfigError(
            f"network.options: {file}: expected `channels` and these options to fit "
            f"{file.name}{signature}, got {options}: {error}. Change one of the two."
        ) from None
    with errors_of(file, "cannot be built"):
        body: nn.Module = found(channels=channels, **options)
    if image_head and not isinstance(body, TwoHeaded):
        raise ConfigError(
            f"image_head.weight: {file}: expected a class made of pipeline.networks.two_headed."
            f"TwoHeaded, which can have an image head, got {file.name}. Make it one, or set 0.0."
        )
    return body


def _is_network(value: Any) -> bool:  # noqa: ANN401  whatever a file holds
    return inspect.isclass(value) and issubclass(value, nn.Module)


def _module(file: CodeFile) -> ModuleType:
    """Run the file; not by `import`, which may take an earlier one and writes beside it."""
    module = ModuleType(_MODULE)
    sys.modules[_MODULE] = module  # where dataclasses look
    module.__file__ = str(file.path)
    with errors_of(file, "cannot be had, since the file cannot be run"):
        exec(compile(file.read(), str(file.path), "exec"), vars(module))
    return module
