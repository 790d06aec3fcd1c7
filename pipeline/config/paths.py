"""Paths as people write them: `~` is their home, and a relative path starts where they stand.

run.sh changes to the project's folder, so it hands on the folder that it was called from. What is
relative on a command line starts there; inside a configuration file, at the project.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from pipeline.errors import ConfigError

CALLER = "PIPELINE_CALLER"
"""The variable in which run.sh hands on the folder that it was called from."""

MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class IsPath:
    """Marks a field that holds a path, or one of `words`."""

    words: frozenset[str] = frozenset()

    def of_caller(self, text: str) -> str:
        """Return the field's value on the command line as it is from the current folder."""
        return text if text in self.words else str(of_caller(Path(text)))


def expanded(path: Path) -> Path:
    """Return the path with `~` and `~user` written out.

    Raises:
        ValueError: There is no such user, a name is too long for a file, or a link leads back to
            itself.
    """
    try:
        found = path.expanduser()
    except RuntimeError:
        user = path.parts[0]
        raise ValueError(
            f"expected ~ or ~user with a user of this machine, got {user[:40]!r}, who is none. "
            "Write the path out."
        ) from None
    longest = max((os.fsencode(name) for name in found.parts), key=len, default=b"")
    if len(longest) > MAX_NAME_BYTES:
        raise ValueError(
            f"expected names of at most {MAX_NAME_BYTES} bytes in a path, got one of "
            f"{len(longest)}: {os.fsdecode(longest[:40])!r}... Shorten it."
        )
    try:
        found.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("expected no link that leads back to itself. Remove it.") from None
    return found


def of_caller(path: Path) -> Path:
    """Return a path of the command line as it is from the current folder.

    It is unchanged, but for `~`, where run.sh was called in the current folder.

    Raises:
        ConfigError: See `expanded`.
    """
    here, caller = Path.cwd(), Path(os.environ.get(CALLER, "")).resolve()
    try:
        found = expanded(path)
        if found.is_absolute() or caller == here:
            return found
        found = expanded(caller / found)
    except ValueError as error:
        raise ConfigError(f"{str(path)[:80]}: {error}") from None
    if ".." in found.parts:
        found = found.resolve()
    return found.relative_to(here) if found.is_relative_to(here) else found


UserPath = Annotated[Path | None, AfterValidator(lambda path: path and expanded(path)), IsPath()]
"""A path in the configuration, or null."""

UserPaths = Annotated[list[Annotated[Path, AfterValidator(expanded)]], IsPath()]
"""Paths in the configuration."""
