"""A network of one's own, as `network.arch` names it: `file:PATH:CLASS`.

A run stands for what the file says, wherever it lies. Nothing here runs it.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.paths import IsPath, expanded, of_caller
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class CodeFile:
    """A class in a Python file.

    Attributes:
        path: Of the file.
        name: Of the class.
    """

    path: Path
    name: str

    @classmethod
    def named(cls, arch: str) -> "CodeFile | None":
        """Return what `network.arch` names, None if that is no file."""
        found = re.fullmatch(r"file:(.+):(\w+)", arch)
        return found and cls(Path(found[1]), found[2])

    def __str__(self) -> str:
        return f"file:{self.path}:{self.name}"

    def expanded(self) -> "CodeFile":
        """Return it with `~` written out; raises ValueError as `pipeline.config.paths.expanded`."""
        return replace(self, path=expanded(self.path))

    def read(self) -> bytes:
        """Return what the file says.

        Raises:
            ConfigError: It cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"network.arch: {self.path}: {error.strerror}: expected the Python file that holds "
                f"{self.name}. Correct the path, or bring the file back."
            ) from None

    @property
    def content(self) -> str:
        """What a run stands for: the names of file and class, and the SHA-256 of the file.

        Raises:
            ConfigError: It cannot be read.
        """
        sha256 = hashlib.sha256(self.read()).hexdigest()
        return f"{replace(self, path=Path(self.path.name))} with SHA-256 {sha256}"


@dataclass(frozen=True)
class IsArchitecture(IsPath):
    """Marks a field that names an architecture, or a `CodeFile`."""

    def of_caller(self, text: str) -> str:
        """Return the text with the path in it, if any, as it is from the current folder."""
        file = CodeFile.named(text)
        return text if file is None else str(replace(file, path=of_caller(file.path)))
